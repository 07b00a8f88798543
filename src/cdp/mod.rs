//! The Chrome DevTools Protocol on the wire: WebSocket frames for both sides of a connection, a
//! client connection with calls and events, and the HTTP requests that find addresses.
//!
//! ```text
//!   frame      one frame's header, its mask                    (pure)
//!   joiner     frames in, whole messages out, limits kept      (pure)
//!   walker     follows a stream of frames without holding them (pure)
//!   handshake  the opening request and its answer
//!   connection calls, events, deadlines
//!   http       GET /json/version, and DevTools' other requests
//! ```
//!
//! Nothing here knows who talks or why; what may be said is decided in [`crate::relay`].
//! Extensions are never offered, so what is on the wire is what was meant.

mod connection;
mod error;
mod frame;
mod handshake;
mod http;
mod joiner;
mod walker;

pub use connection::{Command, Connection, Event, Events, Reply};
pub use error::{CdpError, Malformed, Violation};
pub use frame::{Header, Opcode, apply_mask, close_payload, frame};
pub use handshake::{accept_key, open};
pub use http::{get_json, request};
pub use joiner::{Joiner, Message, Sender};
pub use walker::{Step, Walker};
