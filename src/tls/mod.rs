//! TLS of our listeners: who we are, whom we let in, and the stream that is served afterwards.
//!
//! ```text
//!   files (PEM) ─▶ Identity ─▶ Server (what new connections are shown, replaced by a reload)
//!                                 │ accept: handshake, bounded in time
//!                                 ▼
//!                               Stream: plain or encrypted, the same to whoever serves it
//! ```
//!
//! - A reload takes new files whole or not at all: what is wrong is said, and what was there stays.
//!   Connections that stand are not touched by it.
//! - Clients of the node's gRPC come with a certificate of the configured authority. Where names are
//!   listed, theirs must be one of them: a SPIFFE id, or a common or DNS name.
//! - A listener that others than this host can reach speaks TLS, unless it is named in `tls.insecure`.

mod authority;
mod client;
mod config;
mod identity;
mod names;
mod server;
mod stream;

pub use authority::{Authority, Issued, Wanted};
pub use client::{Https, connect, https, https_of, pinned, trusting};
pub use config::{Config, Listener};
pub use identity::{Identity, TlsError};
pub use names::Allowed;
pub use server::{Protocol, Refused, Server};
pub use stream::{ReadHalf, Stream, WriteHalf, is_encrypted, plain, split};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use tokio::sync::watch;

/// A certificate with less time than this is worth a warning; the alert rules say so at seven days.
pub const SOON: time::Duration = time::Duration::days(14);

/// What listeners of this process show, now and after each reload; none: they speak plaintext.
pub type Shown = watch::Receiver<Option<Identity>>;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
