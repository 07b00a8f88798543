//! What can go wrong between agent and relay.

use std::{io, time::Duration};

use crate::{
    adb::KeyError,
    model::{Class, Classify},
    relay::Feature,
};

/// A failed call to the relay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The relay refused or failed.
    #[error("the relay answered: {}", .0.message())]
    Refused(tonic::Status),
    /// The relay does not know the session or instance.
    #[error("the relay does not know it: {0}")]
    Unknown(String),
    /// A newer agent owns the relay.
    #[error("another agent owns this relay: {0}")]
    Superseded(String),
    /// Nobody answers on the socket.
    #[error("the relay cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("the relay did not answer within {limit:?}")]
    Silent {
        /// How long was waited.
        limit: Duration,
    },
    /// The address is no address.
    #[error("the relay's address is unusable")]
    Address(#[from] tonic::transport::Error),
    /// A relay of another generation.
    #[error("the relay speaks protocol {theirs}, this agent {ours}")]
    Protocol {
        /// What it speaks.
        theirs: u32,
        /// What we speak.
        ours: u32,
    },
    /// The relay is older than this agent, and would skip a part of the order without a word.
    #[error(
        "the relay that runs (version {version}, pid {pid}) is older than this agent and does not \
         understand `{feature}`: start it again, its sessions go on (`systemctl restart \
         chaser-relay`, or `kill {pid}` where the agent keeps it)"
    )]
    Lacks {
        /// What it does not understand.
        feature: Feature,
        /// Its pid.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// An answer that makes no sense.
    #[error("the relay's answer is malformed: {0}")]
    Malformed(String),
    /// A profile that cannot be written down.
    #[error("the profile cannot be encoded")]
    Profile(#[from] serde_json::Error),
    /// A device's key that cannot be written down.
    #[error("the device's key cannot be encoded: {0}")]
    Key(#[from] KeyError),
    /// Handing over sockets failed.
    #[error("sockets could not be handed to the relay")]
    Sockets(#[source] io::Error),
}

impl From<tonic::Status> for RelayError {
    fn from(status: tonic::Status) -> Self {
        let code = status.code();
        let message = || status.message().to_owned();
        if code == tonic::Code::NotFound {
            Self::Unknown(message())
        } else if code == tonic::Code::FailedPrecondition {
            Self::Superseded(message())
        } else if code == tonic::Code::Unavailable {
            Self::Unreachable(message())
        } else {
            Self::Refused(status)
        }
    }
}

impl Classify for RelayError {
    fn class(&self) -> Class {
        match self {
            Self::Unknown(_) => Class::NotFound,
            Self::Superseded(_) | Self::Lacks { .. } => Class::Conflict,
            Self::Unreachable(_) | Self::Silent { .. } | Self::Sockets(_) => Class::Unavailable,
            Self::Refused(_)
            | Self::Address(_)
            | Self::Protocol { .. }
            | Self::Malformed(_)
            | Self::Profile(_)
            | Self::Key(_) => Class::Internal,
        }
    }
}
