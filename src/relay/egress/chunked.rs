//! The chunked coding (RFC 9112 section 7.1), checked while it passes through unchanged.
//!
//! ```text
//!   Size ─▶ Pad ─▶ Extension ─▶ SizeEnd ─▶ Data ─▶ DataEnd ─▶ DataLf ─▶ Size …
//!                                  └ size 0 ─▶ Line ─▶ Name ─▶ Value ─▶ ValueLf ─▶ Line …
//!                                                └─▶ LastLf ─▶ Done
//! ```

use super::refusal::Malformed;

/// The longest chunk line, extensions included.
const MAX_LINE: usize = 4 << 10;
/// All trailers together.
const MAX_TRAILERS: usize = 16 << 10;
const MAX_DIGITS: usize = 16;

/// Where in the coding the bytes are.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
    /// Bytes of the present line, or of all trailers.
    spent: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size {
        digits: usize,
        size: u64,
    },
    /// White space after the size: not in the grammar, but sent by servers that pad.
    Pad {
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataEnd,
    DataLf,
    /// At the start of a trailer, or of the empty line that ends it all.
    Line,
    Name,
    Value,
    ValueLf,
    LastLf,
    Done,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { digits: 0, size: 0 }
    }
}

impl Chunked {
    /// How many of these bytes belong to the body; all of them are as they must be.
    pub(super) fn admit(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if let State::Data { left } = &mut self.state {
                let here = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= here as u64;
                at += here;
                if *left == 0 {
                    self.state = State::DataEnd;
                }
            } else {
                self.state = self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn step(&mut self, byte: u8) -> Result<State, Malformed> {
        self.spend()?;
        let next = match (self.state, byte) {
            (State::Size { digits, size }, _) if digit(byte).is_some() => {
                longer(digits, size, byte)?
            }
            (State::Size { digits, size }, _) if digits > 0 => after_size(size, byte, true)?,
            (State::Pad { size }, _) => after_size(size, byte, true)?,
            (State::Extension { size }, _) => after_size(size, byte, false)?,
            (State::SizeEnd { size }, b'\n') => {
                self.spent = 0;
                if size == 0 {
                    State::Line
                } else {
                    State::Data { left: size }
                }
            }
            (State::DataEnd, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.spent = 0;
                State::default()
            }
            (State::Line, b'\r') => State::LastLf,
            (State::Line | State::Name, _) if is_token(byte) => State::Name,
            (State::Name, b':') => State::Value,
            (State::Value, b'\r') => State::ValueLf,
            (State::Value, _) if is_text(byte) => State::Value,
            (State::ValueLf, b'\n') => State::Line,
            (State::LastLf, b'\n') => State::Done,
            _ => return Err(Malformed("a bad chunk")),
        };
        Ok(next)
    }

    fn spend(&mut self) -> Result<(), Malformed> {
        self.spent += 1;
        let in_trailers = matches!(
            self.state,
            State::Line | State::Name | State::Value | State::ValueLf | State::LastLf
        );
        let limit = if in_trailers { MAX_TRAILERS } else { MAX_LINE };
        if self.spent > limit {
            return Err(Malformed("an endless chunk line"));
        }
        Ok(())
    }
}

fn longer(digits: usize, size: u64, byte: u8) -> Result<State, Malformed> {
    if digits == MAX_DIGITS {
        return Err(Malformed("a chunk size that is too large"));
    }
    Ok(State::Size {
        digits: digits + 1,
        size: size << 4 | digit(byte).unwrap_or(0),
    })
}

fn after_size(size: u64, byte: u8, pad: bool) -> Result<State, Malformed> {
    match byte {
        b'\r' => Ok(State::SizeEnd { size }),
        b' ' | b'\t' if pad => Ok(State::Pad { size }),
        b';' => Ok(State::Extension { size }),
        _ if !pad && is_text(byte) => Ok(State::Extension { size }),
        _ => Err(Malformed("a bad chunk size")),
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Length of the body, or `None` while it is not whole.
    fn read(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut chunked = Chunked::default();
        let length = chunked.admit(bytes)?;
        Ok(chunked.is_done().then_some(length))
    }

    #[test]
    fn whole_bodies_end_where_they_end() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "00005;a=b;c=\"d\"\r\nhello\r\n000\r\n\r\n",
            "5  \r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY: \r\n\r\n",
        ] {
            let followed = format!("{body}GET /");
            assert_eq!(read(followed.as_bytes()), Ok(Some(body.len())), "{body:?}");
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for body in [
            "\r\n",
            "x\r\n",
            "-5\r\n",
            "+5\r\n",
            "0x5\r\n",
            "5\n",
            "5\r\r",
            " 5\r\n",
            ";a\r\n",
            "5 5\r\n",
            "5;a\nb\r\n",
            "5;a\rb",
            "5;\0\r\n",
            "5\r\nhellox",
            "5\r\nhello\n",
            "5\r\nhello\rx",
            "11111111111111111\r\n",
            "0\r\n\n",
            "0\r\n X: a\r\n",
            "0\r\n: a\r\n",
            "0\r\nX : a\r\n",
            "0\r\nX: a\n",
            "0\r\nX\r\n",
            "0\r\nX: a\r\n b\r\n",
            "0\r\n\rx",
        ] {
            read(body.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn lines_and_trailers_are_bounded() {
        read(format!("5;{}", "a".repeat(MAX_LINE)).as_bytes()).unwrap_err();
        read(format!("0\r\n{}", "X: a\r\n".repeat(MAX_TRAILERS)).as_bytes()).unwrap_err();
        let many_chunks = "1\r\na\r\n".repeat(MAX_TRAILERS);
        assert_eq!(read(many_chunks.as_bytes()), Ok(None));
    }

    proptest! {
        #[test]
        fn what_was_coded_is_read_to_its_end_in_any_pieces(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..6),
            piece in 1_usize..20,
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            let mut chunked = Chunked::default();
            for piece in body.chunks(piece) {
                prop_assert!(!chunked.is_done());
                prop_assert_eq!(chunked.admit(piece), Ok(piece.len()));
            }
            prop_assert!(chunked.is_done());
        }

        #[test]
        fn any_bytes_are_a_body_or_an_error(bytes in "[0-9a-fA-F;: \\r\\nx]{0,60}") {
            if let Ok(Some(length)) = read(bytes.as_bytes()) {
                prop_assert!(bytes[..length].ends_with("\r\n\r\n"));
            }
        }
    }
}
