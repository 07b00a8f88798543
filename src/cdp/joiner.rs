//! Frames in, whole messages out. Pure; the limits bound what one peer can make us hold.

use bytes::{Bytes, BytesMut};

use super::{
    Malformed, Violation,
    frame::{Header, Opcode, apply_mask},
};

/// Whose frames are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Masked frames.
    Client,
    /// Unmasked frames.
    Server,
}

/// One message, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Valid UTF-8.
    Text(Bytes),
    /// Anything.
    Binary(Bytes),
    /// To be answered with the same payload.
    Ping(Bytes),
    /// An answer.
    Pong(Bytes),
    /// The peer's last word: its code (1005 when it gave none) and reason.
    Close(u16, String),
}

/// Joins the fragments of one direction's messages.
#[derive(Debug)]
pub struct Joiner {
    sender: Sender,
    limit: u64,
    /// The message whose end has not come yet.
    open: Option<(Opcode, BytesMut)>,
}

impl Joiner {
    /// For messages of at most `limit` bytes.
    #[must_use]
    pub const fn new(sender: Sender, limit: u64) -> Self {
        Self {
            sender,
            limit,
            open: None,
        }
    }

    /// Takes the next message off the front of `buffer`; `None` until more bytes are there. After an
    /// error the stream cannot be read any further.
    ///
    /// # Errors
    /// [`Violation`]; a message beyond the limit is refused by its header, before its payload.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Message>, Violation> {
        while let Some((header, size)) = Header::parse(buffer)? {
            self.admit(&header)?;
            let Ok(len) = usize::try_from(header.len) else {
                return Err(Violation::TooLong(self.limit));
            };
            if buffer.len() - size < len {
                return Ok(None);
            }
            drop(buffer.split_to(size));
            let mut payload = buffer.split_to(len);
            if let Some(key) = header.mask {
                apply_mask(&mut payload, key);
            }
            if let Some(message) = self.take(&header, payload)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn admit(&self, header: &Header) -> Result<(), Violation> {
        if header.mask.is_some() != (self.sender == Sender::Client) {
            return Err(Malformed::Mask.into());
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        if self.open.is_some() != (header.opcode == Opcode::Continuation) {
            return Err(Malformed::Fragment.into());
        }
        let held = self.open.as_ref().map_or(0, |(_, held)| held.len() as u64);
        if held.saturating_add(header.len) > self.limit {
            return Err(Violation::TooLong(self.limit));
        }
        Ok(())
    }

    fn take(&mut self, header: &Header, payload: BytesMut) -> Result<Option<Message>, Violation> {
        match header.opcode {
            Opcode::Ping => Ok(Some(Message::Ping(payload.freeze()))),
            Opcode::Pong => Ok(Some(Message::Pong(payload.freeze()))),
            Opcode::Close => closing(&payload).map(Some),
            opcode @ (Opcode::Continuation | Opcode::Text | Opcode::Binary) => {
                let (opcode, whole) = match self.open.take() {
                    None => (opcode, payload),
                    Some((opcode, mut whole)) => {
                        whole.extend_from_slice(&payload);
                        (opcode, whole)
                    }
                };
                if !header.fin {
                    self.open = Some((opcode, whole));
                    return Ok(None);
                }
                if opcode == Opcode::Binary {
                    return Ok(Some(Message::Binary(whole.freeze())));
                }
                if std::str::from_utf8(&whole).is_err() {
                    return Err(Violation::NotUtf8);
                }
                Ok(Some(Message::Text(whole.freeze())))
            }
        }
    }
}

fn closing(payload: &[u8]) -> Result<Message, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(Message::Close(1005, String::new()))
        } else {
            Err(Malformed::Close.into())
        };
    };
    let code = u16::from_be_bytes(*code);
    // RFC 6455 section 7.4: these are never on the wire.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Malformed::Close.into());
    }
    let reason = std::str::from_utf8(reason).map_err(|_invalid| Violation::NotUtf8)?;
    Ok(Message::Close(code, reason.to_owned()))
}

#[cfg(test)]
#[path = "joiner_tests.rs"]
mod tests;
