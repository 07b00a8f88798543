//! How much to read at once: little while little comes, much while much does. Most connections are
//! silent most of the time, and what each holds meanwhile is what a session costs the relay; a large
//! message, on the other hand, should not take a system call for each page of it.

use bytes::BytesMut;

/// What a silent connection holds in one direction.
const LEAST: usize = 4 << 10;
/// Beyond this a larger read saves nothing any more.
const MOST: usize = 256 << 10;

/// Room for the next read of one direction.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(LEAST)
    }
}

impl Room {
    /// Makes room in `buffer`: without an allocation, unless the stream has changed its pace.
    pub(super) fn make(&self, buffer: &mut BytesMut) {
        buffer.reserve(self.0);
        if buffer.is_empty() && buffer.capacity() > 2 * self.0 {
            *buffer = BytesMut::with_capacity(self.0);
        }
    }

    /// Learns from what a read brought.
    pub(super) const fn learn(&mut self, read: usize) {
        if read >= self.0 {
            self.0 = if self.0 > MOST / 4 { MOST } else { self.0 * 4 };
        } else if read < self.0 / 4 && self.0 > LEAST {
            self.0 /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    #[test]
    fn a_flood_gets_much_room_and_silence_little() {
        let (mut room, mut buffer) = (Room::default(), BytesMut::new());
        for _ in 0..4 {
            room.make(&mut buffer);
            let space = buffer.capacity() - buffer.len();
            buffer.resize(buffer.len() + space, 0);
            room.learn(space);
            buffer.advance(space);
        }
        assert_eq!(room.0, MOST);
        for _ in 0..10 {
            room.learn(100);
        }
        room.make(&mut buffer);
        assert!(
            (LEAST..=2 * LEAST).contains(&buffer.capacity()),
            "{}",
            buffer.capacity()
        );
    }

    #[test]
    fn an_even_pace_allocates_nothing() {
        let (mut room, mut buffer) = (Room::default(), BytesMut::new());
        room.make(&mut buffer);
        let place = buffer.as_ptr();
        for _ in 0..1000 {
            room.make(&mut buffer);
            buffer.extend_from_slice(&[0; 300]);
            room.learn(300);
            buffer.advance(300);
        }
        room.make(&mut buffer);
        assert_eq!(buffer.as_ptr(), place);
    }

    #[test]
    fn what_is_there_stays() {
        let (mut room, mut buffer) = (Room::default(), BytesMut::from(&b"half a frame"[..]));
        room.learn(MOST);
        room.make(&mut buffer);
        assert_eq!(&buffer[..], b"half a frame");
        assert!(buffer.capacity() >= buffer.len() + LEAST);
    }
}
