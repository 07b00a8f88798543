//! What a node answers when it cannot do as it was asked, and why it could not start.

use std::{io, time::Duration};

use super::{HooksError, UnknownProfile};
use crate::{
    docker::DockerError,
    host::monitor::{Condition, Level},
    journal::JournalError,
    model::{Class, Classify, SessionId, Substrate},
    relay::{client::RelayError, launch::LaunchError},
    routes::{Refused, RouteError},
};

/// An order that was not followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// No such session, or it ended longer ago than is remembered.
    #[error("there is no session {id}")]
    Unknown {
        /// Which was asked for.
        id: SessionId,
    },
    /// The id was used for something else.
    #[error("session {id} was ordered before with another spec")]
    OtherSpec {
        /// Which.
        id: SessionId,
    },
    /// Such sessions cannot run on this host.
    #[error("this node runs no {substrate}: {reason}")]
    NoSubstrate {
        /// What was ordered.
        substrate: Substrate,
        /// What the host lacks.
        reason: String,
    },
    /// It would be over before it is ready.
    #[error(
        "`spec.ttl` must be at least {} s for {substrate}: what its boot may take, and a minute",
        least.as_secs()
    )]
    TooShort {
        /// What was ordered.
        substrate: Substrate,
        /// The shortest that is granted.
        least: Duration,
    },
    /// A place, but not the memory that a guest takes.
    #[error(
        "no {substrate} is admitted: it is given {needed} bytes of memory, and {left} are left"
    )]
    NoMemory {
        /// What was ordered.
        substrate: Substrate,
        /// Bytes that are left beyond the host's reserve.
        left: u64,
        /// Bytes that it is given.
        needed: u64,
    },
    /// No room.
    #[error("this node runs {max} sessions at most and has no room now")]
    Full {
        /// The limit.
        max: u32,
    },
    /// A place, but no memory.
    #[error("no session is admitted: the memory that is left is needed by {starting} that start")]
    Short {
        /// How many are being started.
        starting: usize,
    },
    /// The host is in trouble.
    #[error("no session is admitted while the host's {condition} is {level}")]
    Strained {
        /// What is wrong.
        condition: Condition,
        /// How bad.
        level: Level,
        /// When asking again may help.
        retry_after: Duration,
    },
    /// No route.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// Routes that are written down wrongly.
    #[error(transparent)]
    Routes(Box<Refused>),
    /// No such route.
    #[error("there is no egress route `{name}`, or not where it can be changed")]
    UnknownRoute {
        /// Which was asked for.
        name: String,
    },
    /// Another owner has taken the node over.
    #[error("a lease of epoch {known} was granted: epoch {epoch} owns this node no more")]
    OldLease {
        /// Whose grant it was.
        epoch: u64,
        /// Who owns it.
        known: u64,
    },
    /// The relay.
    #[error("the relay does not follow: {0}")]
    Relay(#[from] RelayError),
    /// Not yet, or not any more.
    #[error("the node takes no sessions now: {why}")]
    NotReady {
        /// Why.
        why: String,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The boot clock.
    #[error("the boot clock cannot be read")]
    Clock(#[from] io::Error),
    /// The session's driver stopped with the process.
    #[error("the node is stopping; the session's state is in its journal")]
    Stopping,
}

impl NodeError {
    /// When the same order may succeed, where that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Strained { retry_after, .. } => Some(*retry_after),
            Self::Short { .. } => Some(Duration::from_secs(2)),
            Self::Route(RouteError::Exhausted(exhausted)) => exhausted.retry_after,
            Self::Full { .. }
            | Self::NoSubstrate { .. }
            | Self::NoMemory { .. }
            | Self::TooShort { .. }
            | Self::Unknown { .. }
            | Self::OtherSpec { .. }
            | Self::OldLease { .. }
            | Self::Relay(_)
            | Self::Route(_)
            | Self::Routes(_)
            | Self::UnknownRoute { .. }
            | Self::NotReady { .. }
            | Self::Journal(_)
            | Self::Clock(_)
            | Self::Stopping => None,
        }
    }
}

impl Classify for NodeError {
    fn class(&self) -> Class {
        match self {
            Self::Unknown { .. } | Self::UnknownRoute { .. } => Class::NotFound,
            Self::Routes(_) | Self::TooShort { .. } => Class::Invalid,
            Self::OtherSpec { .. } | Self::OldLease { .. } | Self::NoSubstrate { .. } => {
                Class::Conflict
            }
            Self::Relay(error) => error.class(),
            Self::Full { .. }
            | Self::NoMemory { .. }
            | Self::Short { .. }
            | Self::Strained { .. } => Class::Exhausted,
            Self::Route(error) => error.class(),
            Self::NotReady { .. } | Self::Stopping => Class::Unavailable,
            Self::Journal(error) => error.class(),
            Self::Clock(_) => Class::Internal,
        }
    }
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The pool's configuration.
    #[error(transparent)]
    Pool(#[from] UnknownProfile),
    /// The egress routes.
    #[error(transparent)]
    Routes(#[from] Refused),
    /// The journal, or another agent on its directory.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Docker.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The relay.
    #[error(transparent)]
    Relay(#[from] LaunchError),
    /// The hooks.
    #[error(transparent)]
    Hooks(#[from] HooksError),
}

impl Classify for StartError {
    fn class(&self) -> Class {
        match self {
            Self::Pool(_) | Self::Routes(_) | Self::Hooks(_) => Class::Invalid,
            Self::Journal(error) => error.class(),
            Self::Docker(error) => error.class(),
            Self::Relay(error) => error.class(),
        }
    }
}
