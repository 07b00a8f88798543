//! One packet: 24 bytes of header, little endian, and a payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Malformed;

/// The version that is spoken: its packets carry no checksum.
pub(super) const VERSION: u32 = 0x0100_0001;
/// What is accepted in one packet, bytes: it bounds what a stream can hold here. An adbd sends no more
/// than its peer's greeting allows.
pub(super) const MAX_PAYLOAD: u32 = 256 << 10;
/// What a peer may be sent before its greeting.
pub(super) const BEFORE_GREETING: u32 = 4096;
pub(super) const HEADER: usize = 24;

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// The greeting.
    Connect = 0x4e58_4e43,
    Auth = 0x4854_5541,
    StartTls = 0x534c_5453,
    Open = 0x4e45_504f,
    /// Ready for more.
    Okay = 0x5941_4b4f,
    Write = 0x4554_5257,
    Close = 0x4553_4c43,
}

impl Command {
    const ALL: [Self; 7] = [
        Self::Connect,
        Self::Auth,
        Self::StartTls,
        Self::Open,
        Self::Okay,
        Self::Write,
        Self::Close,
    ];

    fn read(word: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|one| *one as u32 == word)
    }
}

/// Ids are relative to whoever sends: `arg0` is of the sender, `arg1` of the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) command: Command,
    pub(super) arg0: u32,
    pub(super) arg1: u32,
    pub(super) payload: Bytes,
}

impl Packet {
    pub(super) const fn bare(command: Command, arg0: u32, arg1: u32) -> Self {
        Self {
            command,
            arg0,
            arg1,
            payload: Bytes::new(),
        }
    }

    /// The header. The sum of the payload is in it where the peer may still be one that looks: until
    /// both have greeted.
    pub(super) fn header(&self, summed: bool) -> [u8; HEADER] {
        let sum = if summed {
            let bytes = self.payload.iter().map(|byte| u32::from(*byte));
            bytes.fold(0, u32::wrapping_add)
        } else {
            0
        };
        let command = self.command as u32;
        // Payloads are made within MAX_PAYLOAD.
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let mut out = [0; HEADER];
        let mut to = &mut out[..];
        for word in [command, self.arg0, self.arg1, length, sum, !command] {
            to.put_u32_le(word);
        }
        out
    }

    /// Takes one packet out of `read`; `None` while it is not whole. Then `read` has room for the rest.
    ///
    /// # Errors
    /// [`Malformed`] as soon as the header shows it.
    pub(super) fn take(read: &mut BytesMut, allowed: u32) -> Result<Option<Self>, Malformed> {
        if read.len() < HEADER {
            read.reserve(HEADER);
            return Ok(None);
        }
        let mut header = &read[..HEADER];
        let word = header.get_u32_le();
        let (arg0, arg1) = (header.get_u32_le(), header.get_u32_le());
        let (announced, _sum, check) = (
            header.get_u32_le(),
            header.get_u32_le(),
            header.get_u32_le(),
        );
        let command = Command::read(word)
            .filter(|_| check == !word)
            .ok_or(Malformed::Header(word))?;
        if announced > allowed {
            return Err(Malformed::TooLong { announced, allowed });
        }
        let whole = HEADER + announced as usize;
        if read.len() < whole {
            read.reserve(whole - read.len());
            return Ok(None);
        }
        let mut packet = read.split_to(whole);
        packet.advance(HEADER);
        Ok(Some(Self {
            command,
            arg0,
            arg1,
            payload: packet.freeze(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packets() -> impl Strategy<Value = Vec<Packet>> {
        let one = (
            0..Command::ALL.len(),
            any::<u32>(),
            any::<u32>(),
            proptest::collection::vec(any::<u8>(), 0..600),
        );
        let one = one.prop_map(|(which, arg0, arg1, payload)| Packet {
            command: Command::ALL[which],
            arg0,
            arg1,
            payload: payload.into(),
        });
        proptest::collection::vec(one, 0..8)
    }

    proptest! {
        /// However the bytes come, the packets are those that were sent.
        #[test]
        fn packets_survive_any_cutting(sent in packets(), cut in 1_usize..700, summed: bool) {
            let mut wire = Vec::new();
            for packet in &sent {
                wire.extend_from_slice(&packet.header(summed));
                wire.extend_from_slice(&packet.payload);
            }
            let (mut read, mut got) = (BytesMut::new(), Vec::new());
            for piece in wire.chunks(cut) {
                read.extend_from_slice(piece);
                while let Some(packet) = Packet::take(&mut read, MAX_PAYLOAD).unwrap() {
                    got.push(packet);
                }
            }
            prop_assert_eq!(got, sent);
            prop_assert!(read.is_empty());
        }

        /// Noise is refused or waited on, and never makes room for more than was agreed on.
        #[test]
        fn noise_costs_nothing(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut read = BytesMut::from(&noise[..]);
            while let Ok(Some(packet)) = Packet::take(&mut read, MAX_PAYLOAD) {
                prop_assert!(packet.payload.len() <= noise.len());
            }
            prop_assert!(read.capacity() <= MAX_PAYLOAD as usize + 2 * HEADER + noise.len());
        }
    }

    /// As AOSP's adb puts it on the wire.
    #[test]
    fn the_greeting_is_what_adb_sends() {
        let greeting = Packet {
            command: Command::Connect,
            arg0: VERSION,
            arg1: 1 << 20,
            payload: Bytes::from_static(b"host::\0"),
        };
        assert_eq!(
            greeting.header(true),
            *b"CNXN\x01\0\0\x01\0\0\x10\0\x07\0\0\0\x32\x02\0\0\xbc\xb1\xa7\xb1"
        );
    }

    #[test]
    fn a_header_is_judged_before_its_payload_is_waited_for() {
        let mut packet = Packet::bare(Command::Write, 1, 2).header(false);
        packet[12..16].copy_from_slice(&(MAX_PAYLOAD + 1).to_le_bytes());
        let too_long = Packet::take(&mut BytesMut::from(&packet[..]), MAX_PAYLOAD);
        assert_eq!(
            too_long,
            Err(Malformed::TooLong {
                announced: MAX_PAYLOAD + 1,
                allowed: MAX_PAYLOAD
            })
        );
        packet[20] ^= 1;
        let broken = Packet::take(&mut BytesMut::from(&packet[..]), MAX_PAYLOAD);
        assert_eq!(broken, Err(Malformed::Header(Command::Write as u32)));
    }
}
