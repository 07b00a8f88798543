//! Follows a stream of a server's frames without holding them: where a frame ends, where a message
//! ends, and which bytes are control frames. Pure.

use super::{
    Malformed,
    frame::{Header, Opcode},
};

/// What the bytes at hand begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Too few to tell.
    Wait,
    /// So many bytes of a data frame: its header, its payload or a part of it.
    Data(usize),
    /// A whole control frame.
    Control {
        /// Which.
        opcode: Opcode,
        /// Bytes of its header.
        header: usize,
        /// Bytes of its payload, after the header.
        payload: usize,
    },
}

/// Where in the stream the next byte stands.
#[derive(Debug, Default)]
pub struct Walker {
    /// Payload still to come of the data frame that has begun.
    rest: u64,
    /// That frame is the last of its message.
    fin: bool,
    /// A message has begun and its last frame has not.
    open: bool,
}

impl Walker {
    /// Whether a frame could be put here.
    #[must_use]
    pub const fn between_frames(&self) -> bool {
        self.rest == 0
    }

    /// Whether a message could be put here.
    #[must_use]
    pub const fn between_messages(&self) -> bool {
        self.rest == 0 && !self.open
    }

    /// Reads what `bytes` begin with and moves behind it: never further than to the end of a frame.
    ///
    /// # Errors
    /// [`Malformed`]: where frames begin can no longer be told.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Malformed> {
        if self.rest > 0 {
            return Ok(self.pass(bytes.len(), 0));
        }
        let Some((header, size)) = Header::parse(bytes)? else {
            return Ok(Step::Wait);
        };
        if header.mask.is_some() {
            return Err(Malformed::Mask);
        }
        let at_hand = bytes.len() - size;
        if header.opcode.is_control() {
            return Ok(match usize::try_from(header.len) {
                Ok(payload) if payload <= at_hand => Step::Control {
                    opcode: header.opcode,
                    header: size,
                    payload,
                },
                _ => Step::Wait,
            });
        }
        if self.open != (header.opcode == Opcode::Continuation) {
            return Err(Malformed::Fragment);
        }
        self.rest = header.len;
        self.fin = header.fin;
        self.open = true;
        Ok(self.pass(at_hand, size))
    }

    fn pass(&mut self, at_hand: usize, header: usize) -> Step {
        let now = usize::try_from(self.rest).map_or(at_hand, |rest| rest.min(at_hand));
        self.rest -= now as u64;
        if self.rest == 0 && self.fin {
            self.open = false;
        }
        if now + header == 0 {
            return Step::Wait;
        }
        Step::Data(header + now)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::cdp::{Joiner, Message, Sender, frame};

    fn wire(messages: &[(Vec<u8>, usize)]) -> BytesMut {
        let mut wire = BytesMut::new();
        for (payload, pieces) in messages {
            let step = payload.len() / pieces.max(&1) + 1;
            let mut parts = payload.chunks(step).peekable();
            let mut opcode = Opcode::Binary;
            if parts.peek().is_none() {
                frame(&mut wire, opcode, None, b"");
            }
            while let Some(part) = parts.next() {
                let header = Header {
                    fin: parts.peek().is_none(),
                    opcode,
                    mask: None,
                    len: part.len() as u64,
                };
                header.encode(&mut wire);
                wire.extend_from_slice(part);
                frame(&mut wire, Opcode::Ping, None, b"p");
                opcode = Opcode::Continuation;
            }
        }
        wire
    }

    proptest! {
        /// What is passed on reads as the same messages, and an own message put wherever the walker
        /// allows one comes out whole.
        #[test]
        fn bytes_passed_on_are_the_same_messages(
            messages in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..400), 0usize..4), 0..6),
            pieces in 1usize..200,
        ) {
            let mut walker = Walker::default();
            let (mut held, mut out) = (BytesMut::new(), BytesMut::new());
            let mut own = 0;
            for piece in wire(&messages).chunks(pieces) {
                held.extend_from_slice(piece);
                loop {
                    if walker.between_messages() {
                        frame(&mut out, Opcode::Text, None, b"own");
                        own += 1;
                    }
                    match walker.step(&held).unwrap() {
                        Step::Wait => break,
                        Step::Data(n) => out.extend_from_slice(&held.split_to(n)),
                        Step::Control { header, payload, .. } => drop(held.split_to(header + payload)),
                    }
                }
            }
            prop_assert!(held.is_empty());
            let mut joiner = Joiner::new(Sender::Server, 1 << 20);
            let (mut seen, mut injected) = (Vec::new(), 0);
            while let Some(message) = joiner.next(&mut out).unwrap() {
                match message {
                    Message::Binary(payload) => seen.push(payload.to_vec()),
                    Message::Text(_own) => injected += 1,
                    Message::Ping(_) | Message::Pong(_) | Message::Close(..) => {
                        prop_assert!(false, "control frames are not passed on");
                    }
                }
            }
            prop_assert_eq!(injected, own);
            prop_assert_eq!(seen, messages.into_iter().map(|(payload, _)| payload).collect::<Vec<_>>());
        }
    }
}
