//! One answer to "whose fault is it, and may the caller retry?".

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an error means to whoever asked. One table in `api` maps it to gRPC codes and HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request can never succeed as written.
    Invalid,
    /// The caller is not who it must be.
    Unauthorised,
    /// No such thing.
    NotFound,
    /// Not in the present state.
    Conflict,
    /// The host is full; another host may not be.
    Exhausted,
    /// A dependency is down; the same request may succeed later.
    Unavailable,
    /// A bug, or a broken host.
    Internal,
}

/// Implemented by every error enum that can reach an API.
pub trait Classify: std::error::Error {
    /// The class that decides the status code.
    fn class(&self) -> Class;
}

/// Whose fault a failed session is; also a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The client's own command or limit.
    Client,
    /// The egress route or what lies behind it.
    Upstream,
    /// The browser or its container.
    Substrate,
    /// Docker, the kernel, memory, disk.
    Host,
    /// This program.
    Agent,
}

impl Blame {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Client,
        Self::Upstream,
        Self::Substrate,
        Self::Host,
        Self::Agent,
    ];

    /// Reads [`Blame::as_str`]; `None` for any other word.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }

    /// The word of journal, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Substrate => "substrate",
            Self::Host => "host",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a session failed: kept in the journal and shown to whoever asks for the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable snake_case word, such as `image_missing`.
    pub code: String,
    /// A sentence that a tired operator can act on.
    pub message: String,
    /// Whose fault it is.
    pub blame: Blame,
}
