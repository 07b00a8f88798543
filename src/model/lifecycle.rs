//! Where a session is in its life, and why it left it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The four phases of a session, in the only order they can occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// An instance is being made for it.
    Creating,
    /// The browser accepts connections.
    Ready,
    /// The end was asked for; traffic is being cut.
    Closing,
    /// Traffic is cut, the reason and the bytes are final.
    Ended,
}

/// Why a session ended: the same word in journal, gRPC, REST, metrics, logs and close frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The client asked for it.
    ClientDelete,
    /// The lifetime granted at creation ran out.
    TtlExpired,
    /// No CDP connection for the idle limit.
    IdleExpired,
    /// Found after a restart with no one left to claim it.
    AbandonedOrphan,
    /// The browser, its container, Docker or the host failed underneath it.
    SubstrateDown,
    /// The bytes that it might move are moved.
    QuotaExceeded,
    /// It failed before it was ready.
    Error,
}

/// A word outside a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is none of: {allowed}")]
pub struct UnknownWord {
    /// What was given.
    pub word: String,
    /// What would have been accepted.
    pub allowed: String,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::ClientDelete,
        Self::TtlExpired,
        Self::IdleExpired,
        Self::AbandonedOrphan,
        Self::SubstrateDown,
        Self::QuotaExceeded,
        Self::Error,
    ];

    /// The public word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientDelete => "client_delete",
            Self::TtlExpired => "ttl_expired",
            Self::IdleExpired => "idle_expired",
            Self::AbandonedOrphan => "abandoned_orphan",
            Self::SubstrateDown => "substrate_down",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Error => "error",
        }
    }

    /// Code of the WebSocket close frame (RFC 6455 section 7.4.2, private use).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::ClientDelete => 4001,
            Self::TtlExpired => 4002,
            Self::IdleExpired => 4003,
            Self::AbandonedOrphan => 4004,
            Self::SubstrateDown => 4005,
            Self::Error => 4006,
            Self::QuotaExceeded => 4007,
        }
    }

    /// Whether a session that was ready and ended this way is charged.
    #[must_use]
    pub const fn billable(self) -> bool {
        match self {
            Self::ClientDelete
            | Self::TtlExpired
            | Self::IdleExpired
            | Self::AbandonedOrphan
            | Self::QuotaExceeded => true,
            Self::SubstrateDown | Self::Error => false,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EndReason {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == word)
            .ok_or_else(|| UnknownWord {
                word: word.to_owned(),
                allowed: Self::ALL.map(Self::as_str).join(", "),
            })
    }
}

impl Phase {
    /// The word of journal, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Closing => "closing",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The phases of an instance, in the only order they can occur (failure skips to the end).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstancePhase {
    /// Being made.
    Starting,
    /// A supervised phone that nobody holds.
    Parked,
    /// A session's; never another's.
    Bound,
    /// Being removed.
    Destroying,
    /// Nothing of it is left.
    Gone,
}
