//! Why the control plane refuses: one variant per thing that a client can be told.

use std::time::Duration;

use super::{Exceeded, NodeError, StoreError};
use crate::model::{Class, Classify};

/// A refusal.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No key, or none that is valid.
    #[error("the API key is missing, unknown or revoked; send `Authorization: Bearer sk_…`")]
    Unauthorised,
    /// No such session in this workspace.
    #[error("no session of this id")]
    SessionNotFound,
    /// It has ended.
    #[error("the session is not open any more")]
    SessionNotOpen,
    /// A limit of the workspace.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// A field that cannot be.
    #[error("`{field}` {problem}")]
    Invalid {
        /// The field as the client wrote it.
        field: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// No node can take the session now.
    #[error("no session can be started now: {why}")]
    NoCapacity {
        /// Why.
        why: String,
        /// When asking again may help.
        retry_after: Duration,
    },
    /// The node that has the session does not answer.
    #[error("the session's node does not answer; try again")]
    NodeAway(#[source] NodeError),
    /// Anything that is our fault.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ControlError {
    /// A refusal for lack of room; a node that gives no hint is asked again after a while.
    pub(super) fn no_capacity(why: String, retry_after: Option<Duration>) -> Self {
        Self::NoCapacity {
            why,
            retry_after: retry_after.unwrap_or(Duration::from_secs(5)),
        }
    }

    /// The public word.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unauthorised => "unauthorized",
            Self::SessionNotFound => "session_not_found",
            Self::SessionNotOpen => "session_not_open",
            Self::Exceeded(Exceeded::Concurrent { .. }) => "concurrency_limit",
            Self::Exceeded(Exceeded::Rate { .. }) => "rate_limited",
            Self::Invalid { .. } => "invalid_request",
            Self::NoCapacity { .. } => "no_capacity",
            Self::NodeAway(_) => "node_unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// When the same request may succeed.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Exceeded(
                Exceeded::Concurrent { retry_after, .. } | Exceeded::Rate { retry_after, .. },
            ) => Some(*retry_after),
            Self::NoCapacity { retry_after, .. } => Some(*retry_after),
            Self::NodeAway(_) => Some(Duration::from_secs(1)),
            Self::Unauthorised
            | Self::SessionNotFound
            | Self::SessionNotOpen
            | Self::Invalid { .. }
            | Self::Internal(_) => None,
        }
    }
}

impl Classify for ControlError {
    fn class(&self) -> Class {
        match self {
            Self::Unauthorised => Class::Unauthorised,
            Self::SessionNotFound => Class::NotFound,
            Self::SessionNotOpen => Class::Conflict,
            Self::Exceeded(_) => Class::Exhausted,
            Self::Invalid { .. } => Class::Invalid,
            Self::NoCapacity { .. } | Self::NodeAway(_) => Class::Unavailable,
            Self::Internal(_) => Class::Internal,
        }
    }
}

impl From<StoreError> for ControlError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Exceeded(exceeded) => Self::Exceeded(exceeded),
            StoreError::File { .. }
            | StoreError::Database(_)
            | StoreError::Unreadable { .. }
            | StoreError::Version { .. }
            | StoreError::Closed(_) => Self::Internal(Box::new(error)),
        }
    }
}
