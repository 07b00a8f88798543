//! How much to read at once: little while little comes, much while much does. Most connections are
//! silent most of the time, and what each holds meanwhile is what a session costs the relay: nothing. A
//! large message, on the other hand, should not take a system call for each page of it.

use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use crate::runtime::read_some;

/// What one read of a connection takes that is silent most of the time.
const LEAST: usize = 4 << 10;
/// Beyond this a larger read saves nothing any more.
const MOST: usize = 256 << 10;
/// How long the room for a flood is kept when nothing comes.
const SILENCE: Duration = Duration::from_secs(1);

/// Room for the next read of one direction.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(LEAST)
    }
}

impl Room {
    /// Reads once, as much as the stream's pace is worth; 0 is the end. Cancel-safe.
    ///
    /// # Errors
    /// Of `io`.
    pub(super) async fn read(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        buffer: &mut BytesMut,
    ) -> io::Result<usize> {
        if self.0 > LEAST {
            self.make(buffer);
            if let Ok(read) = timeout(SILENCE, io.read_buf(buffer)).await {
                let read = read?;
                self.learn(read);
                return Ok(read);
            }
            self.0 = LEAST;
        }
        let read = read_some(io, buffer, (LEAST, LEAST)).await?;
        self.learn(read);
        Ok(read)
    }

    /// Makes room in `buffer`: without an allocation, unless the stream has changed its pace.
    fn make(&self, buffer: &mut BytesMut) {
        buffer.reserve(self.0);
        if buffer.is_empty() && buffer.capacity() > 2 * self.0 {
            *buffer = BytesMut::with_capacity(self.0);
        }
    }

    /// Learns from what a read brought.
    const fn learn(&mut self, read: usize) {
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
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_gets_much_room_and_silence_none() {
        let (mut near, mut far) = duplex(2 * MOST);
        let (mut room, mut buffer) = (Room::default(), BytesMut::new());
        far.write_all(&vec![0; 2 * MOST]).await.unwrap();
        let mut largest = 0;
        for _ in 0..5 {
            let read = room.read(&mut near, &mut buffer).await.unwrap();
            largest = largest.max(read);
            buffer.advance(read);
        }
        assert!(largest >= MOST / 2, "{largest}");
        let nothing = timeout(2 * SILENCE, room.read(&mut near, &mut buffer)).await;
        nothing.unwrap_err();
        assert_eq!((room.0, buffer.capacity()), (LEAST, 0));
        far.write_all(b"again").await.unwrap();
        let read = room.read(&mut near, &mut buffer).await.unwrap();
        assert_eq!((read, &buffer[..]), (5, &b"again"[..]));
    }

    #[tokio::test]
    async fn half_a_message_stays_while_its_rest_is_waited_for() {
        let (mut near, mut far) = duplex(64);
        let (mut room, mut buffer) = (Room::default(), BytesMut::new());
        far.write_all(b"half").await.unwrap();
        room.read(&mut near, &mut buffer).await.unwrap();
        let waits = timeout(Duration::from_millis(10), room.read(&mut near, &mut buffer));
        assert!(waits.await.is_err(), "nothing came");
        far.write_all(b" and the rest").await.unwrap();
        room.read(&mut near, &mut buffer).await.unwrap();
        assert_eq!(&buffer[..], b"half and the rest");
    }
}
