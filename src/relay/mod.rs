//! The host's data plane: everything a client can feel, in a process without any privilege.
//!
//! ```text
//!            agent (root)                                relay (own user, no capability)
//!   R/relay-fd.sock  ── sockets made inside ──▶  attachment ─┬─ supervisor pair ──▶ DevTools
//!   R/relay.sock     ── orders, endings ─────▶  (arbiter)    ├─ egress proxy ─────▶ origin
//!                                                             ├─ meter page (R/meter/<instance>)
//!   client ── CDP over WebSocket ─────────────▶  gateway  ────┘
//! ```
//!
//! The only decision made here is which end of a session came first. Restarting, upgrading or
//! killing the agent interrupts nothing in this process.

pub mod client;
mod devtools;
mod dialer;
pub mod egress;
#[cfg(test)]
mod fake_devtools;
mod features;
pub mod gateway;
pub mod handover;
pub mod launch;
pub mod meter;
pub mod records;
mod runtime_dir;
pub mod server;
mod stop;
pub mod supervisor;
mod view;
mod way;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::Deserialize;

pub use devtools::{DevTools, Device};
pub use dialer::Dialer;
pub use features::Feature;
pub use view::{Browser, ClientGuard, Clients, Live, SessionView};
pub use way::{Login, Place, Position, Scheme, Upstream, Way};

/// Version of the relay protocol that this build speaks.
pub const PROTOCOL: u32 = 1;

/// `[cdp]` of the configuration: the gateway in front of the browsers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// What `cdp_url` starts with, such as `wss://cdp.example`; empty derives it from `listen`.
    pub public_url: String,
    /// How long a client that came before `ready` is held.
    #[serde(with = "crate::model::duration")]
    pub hold_timeout: Duration,
    /// The largest CDP message that a client may send, bytes.
    pub max_message_bytes: u64,
    /// CDP connections that one session may have at once.
    pub max_clients_per_session: u32,
    /// Connections that one source may have at once; 0 for any number.
    pub max_connections_per_source: u32,
    /// Wrong ids and tokens that one source may try a minute; 0 for any number.
    pub wrong_guesses_per_minute: u32,
    /// Origins that pages may connect from; empty for any.
    pub origins: Vec<String>,
    /// Whether each session of the API has a token that its clients must show.
    pub session_tokens: bool,
    /// The user that the relay runs as when the agent is root.
    pub user: String,
    /// Whose process the relay is.
    pub relay: KeptBy,
}

/// Whose process the relay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptBy {
    /// The agent starts it where none answers.
    Agent,
    /// A service manager starts it and holds its gateway's listener; the agent waits for it.
    Service,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7701)),
            public_url: String::new(),
            hold_timeout: Duration::from_secs(60),
            max_message_bytes: 64 << 20,
            max_clients_per_session: 32,
            max_connections_per_source: 0,
            wrong_guesses_per_minute: 600,
            origins: Vec::new(),
            session_tokens: false,
            user: "chaser-relay".to_owned(),
            relay: KeptBy::Agent,
        }
    }
}

/// Names inside the runtime directory `R`.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The runtime directory.
    pub root: PathBuf,
}

impl Paths {
    /// gRPC of the relay.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.root.join("relay.sock")
    }

    /// Sockets are handed over here (seqpacket, `SCM_RIGHTS`).
    #[must_use]
    pub fn fd_socket(&self) -> PathBuf {
        self.root.join("relay-fd.sock")
    }

    /// Taken while a relay is being started.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("relay.lock")
    }

    /// The relay's pid; locked by the relay for as long as it lives.
    #[must_use]
    pub fn pid(&self) -> PathBuf {
        self.root.join("relay.pid")
    }

    /// The relay's output.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("relay.log")
    }

    /// One counters file per instance.
    #[must_use]
    pub fn meter(&self, instance: crate::model::InstanceId) -> PathBuf {
        self.root.join("meter").join(instance.to_string())
    }

    /// One record per bound instance: enough to rebuild a lost journal.
    #[must_use]
    pub fn instance(&self, instance: crate::model::InstanceId) -> PathBuf {
        self.root.join("instances").join(instance.to_string())
    }
}
