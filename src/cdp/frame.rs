//! One WebSocket frame (RFC 6455 section 5): its header, its mask. Pure; used by both sides.

use bytes::{BufMut, Bytes, BytesMut};

use super::Malformed;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message before it.
    Continuation,
    /// A text message begins.
    Text,
    /// A binary message begins.
    Binary,
    /// The end of the connection.
    Close,
    /// Answered with a pong.
    Ping,
    /// The answer, or a sign of life.
    Pong,
}

/// All of a frame but its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// What it is for.
    pub opcode: Opcode,
    /// The key that the payload is masked with, from client to server.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub len: u64,
}

/// The longest payload of a control frame.
pub(super) const MAX_CONTROL: u64 = 125;

impl Opcode {
    /// Whether it may stand between the fragments of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    const fn from_bits(bits: u8) -> Result<Self, Malformed> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Ok(Self::Text),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xA => Ok(Self::Pong),
            other => Err(Malformed::Opcode(other)),
        }
    }
}

impl Header {
    /// Reads the header at the start of `bytes` and how long it is; `None` until all of it is there.
    ///
    /// # Errors
    /// [`Malformed`], as soon as it can be told.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Malformed::ReservedBits);
        }
        let fin = first & 0x80 != 0;
        let opcode = Opcode::from_bits(first & 0x0F)?;
        let short = second & 0x7F;
        if opcode.is_control() && (!fin || u64::from(short) > MAX_CONTROL) {
            return Err(Malformed::Control);
        }
        let (len, rest, mut size) = match short {
            126 => match rest.split_first_chunk::<2>() {
                Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest, 4),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest, 10),
                None => return Ok(None),
            },
            len => (u64::from(len), rest, 2),
        };
        if size != 2 + len_bytes(len) || len > u64::MAX >> 1 {
            return Err(Malformed::Length);
        }
        let mask = if second & 0x80 == 0 {
            None
        } else {
            let Some((key, _payload)) = rest.split_first_chunk::<4>() else {
                return Ok(None);
            };
            size += 4;
            Some(*key)
        };
        let header = Self {
            fin,
            opcode,
            mask,
            len,
        };
        Ok(Some((header, size)))
    }

    /// Appends the header to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.fin) << 7 | self.opcode.bits());
        let masked = u8::from(self.mask.is_some()) << 7;
        match (u8::try_from(self.len), u16::try_from(self.len)) {
            (Ok(len), _) if len <= 125 => out.put_u8(masked | len),
            (_, Ok(len)) => {
                out.put_u8(masked | 126);
                out.put_u16(len);
            }
            _ => {
                out.put_u8(masked | 127);
                out.put_u64(self.len);
            }
        }
        if let Some(key) = self.mask {
            out.put_slice(&key);
        }
    }
}

/// Bytes of extended length that `len` takes in its shortest form.
const fn len_bytes(len: u64) -> usize {
    match len {
        0..=125 => 0,
        126..=0xFFFF => 2,
        _ => 8,
    }
}

/// Masks or unmasks `payload`.
pub fn apply_mask(payload: &mut [u8], key: [u8; 4]) {
    if key == [0; 4] {
        return;
    }
    let word = u32::from_ne_bytes(key);
    let mut chunks = payload.chunks_exact_mut(4);
    for chunk in &mut chunks {
        let masked = u32::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]) ^ word;
        chunk.copy_from_slice(&masked.to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Appends one whole message in a single frame. With a `mask` it goes from client to server; the key
/// hides nothing (its purpose is to confuse proxies, and there are none), so zero is a fine one.
pub fn frame(out: &mut BytesMut, opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8]) {
    let header = Header {
        fin: true,
        opcode,
        mask,
        len: payload.len() as u64,
    };
    out.reserve(payload.len() + 14);
    header.encode(out);
    let start = out.len();
    out.put_slice(payload);
    if let Some(key) = mask {
        apply_mask(&mut out[start..], key);
    }
}

/// The payload of a close frame; a reason too long for one is cut.
#[must_use]
pub fn close_payload(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = BytesMut::with_capacity(2 + end);
    payload.put_u16(code);
    payload.put_slice(&reason.as_bytes()[..end]);
    payload.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_reads_back_as_written_and_never_early(
            len in prop_oneof![0u64..=125, 126u64..=0xFFFF, 0x1_0000u64..=u64::MAX >> 1],
            mask in any::<Option<[u8; 4]>>(),
            fin: bool,
        ) {
            let header = Header { fin, opcode: Opcode::Text, mask, len };
            let mut bytes = BytesMut::new();
            header.encode(&mut bytes);
            prop_assert_eq!(Header::parse(&bytes), Ok(Some((header, bytes.len()))));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Header::parse(&bytes[..cut]), Ok(None));
            }
        }

        #[test]
        fn any_bytes_are_a_header_or_an_error(bytes: Vec<u8>) {
            if let Ok(Some((header, size))) = Header::parse(&bytes) {
                let mut again = BytesMut::new();
                header.encode(&mut again);
                prop_assert_eq!(&again[..], &bytes[..size]);
            }
        }

        #[test]
        fn a_mask_undoes_itself(key: [u8; 4], payload: Vec<u8>) {
            let mut masked = payload.clone();
            apply_mask(&mut masked, key);
            for (at, byte) in masked.iter().enumerate() {
                prop_assert_eq!(*byte, payload[at] ^ key[at % 4]);
            }
            apply_mask(&mut masked, key);
            prop_assert_eq!(masked, payload);
        }
    }

    #[test]
    fn what_the_rfc_forbids_is_refused() {
        assert_eq!(Header::parse(&[0xC1, 0]), Err(Malformed::ReservedBits));
        assert_eq!(Header::parse(&[0x83, 0]), Err(Malformed::Opcode(3)));
        assert_eq!(Header::parse(&[0x09, 0]), Err(Malformed::Control));
        assert_eq!(Header::parse(&[0x89, 126, 0, 1]), Err(Malformed::Control));
        assert_eq!(Header::parse(&[0x81, 126, 0, 1]), Err(Malformed::Length));
        let huge = [0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Header::parse(&huge), Err(Malformed::Length));
    }

    #[test]
    fn a_long_close_reason_is_cut_between_characters() {
        let payload = close_payload(4001, &"é".repeat(100));
        assert!(payload.len() <= 125);
        assert_eq!(std::str::from_utf8(&payload[2..]).unwrap().len() % 2, 0);
    }
}
