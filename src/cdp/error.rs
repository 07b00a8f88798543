//! What can go wrong on a DevTools connection.

use std::io;

use serde_json::error::Error as JsonError;

/// A frame header that RFC 6455 section 5.2 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Reserved bits are for extensions, and none was agreed on.
    #[error("reserved bits are set")]
    ReservedBits,
    /// An opcode without a meaning.
    #[error("opcode {0} is reserved")]
    Opcode(u8),
    /// A control frame with more than 125 bytes, or in pieces.
    #[error("a control frame is too long or fragmented")]
    Control,
    /// A length in more bytes than it needs, or beyond 63 bits.
    #[error("the length is not in its shortest form")]
    Length,
    /// Clients must mask, servers must not.
    #[error("the mask is missing or not allowed")]
    Mask,
    /// A continuation of nothing, or a new message inside another.
    #[error("a fragment is out of order")]
    Fragment,
    /// A close frame with one byte, or a code that must not be sent.
    #[error("the close frame is not valid")]
    Close,
}

/// Why a peer's messages cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Not RFC 6455.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A message beyond the limit.
    #[error("a message is larger than {0} bytes")]
    TooLong(u64),
    /// A text message that is not UTF-8.
    #[error("a text message is not UTF-8")]
    NotUtf8,
}

impl Violation {
    /// The close code that says so (RFC 6455 section 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Malformed(_) => 1002,
            Self::TooLong(_) => 1009,
            Self::NotUtf8 => 1007,
        }
    }
}

/// A DevTools connection or call that failed.
#[derive(Debug, thiserror::Error)]
pub enum CdpError {
    /// The socket.
    #[error("DevTools connection: {0}")]
    Io(#[from] io::Error),
    /// The peer did not agree to speak WebSocket, or HTTP.
    #[error("DevTools answered the opening request with {0}")]
    Handshake(String),
    /// There is nothing at this path.
    #[error("DevTools has no such target")]
    NotFound,
    /// The peer's frames cannot be read.
    #[error("DevTools sent an unreadable message: {0}")]
    Unreadable(#[from] Violation),
    /// The peer's JSON cannot be read.
    #[error("DevTools sent invalid JSON: {0}")]
    Json(#[from] JsonError),
    /// The connection is gone.
    #[error("the DevTools connection is closed")]
    Closed,
    /// No answer in time.
    #[error("DevTools did not answer {0} in time")]
    TimedOut(&'static str),
    /// The browser refused a command.
    #[error("{method} was refused ({code}): {message}")]
    Refused {
        /// The command.
        method: &'static str,
        /// JSON-RPC's code.
        code: i64,
        /// The browser's sentence.
        message: String,
    },
}
