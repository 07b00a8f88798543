//! What a node answers when it cannot do as it was asked.

use std::io;

use crate::{
    journal::JournalError,
    model::{Class, Classify, InvalidSpec, SessionId},
    routes::RouteError,
};

/// An order that was not followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The order itself.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// No such session, or it ended longer ago than is remembered.
    #[error("there is no session {0}")]
    Unknown(SessionId),
    /// The id was used for something else.
    #[error("session {0} was ordered before with another spec")]
    OtherSpec(SessionId),
    /// No room.
    #[error("this node runs {max} sessions at most and has no room now")]
    Full {
        /// The limit.
        max: u32,
    },
    /// No address.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// Not yet, or not any more.
    #[error("the node takes no sessions now: {0}")]
    NotReady(String),
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

impl Classify for NodeError {
    fn class(&self) -> Class {
        match self {
            Self::Invalid(error) => error.class(),
            Self::Unknown(_) => Class::NotFound,
            Self::OtherSpec(_) => Class::Conflict,
            Self::Full { .. } => Class::Exhausted,
            Self::Route(error) => error.class(),
            Self::NotReady(_) | Self::Stopping => Class::Unavailable,
            Self::Journal(error) => error.class(),
            Self::Clock(_) => Class::Internal,
        }
    }
}
