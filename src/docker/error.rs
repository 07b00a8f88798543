//! What can go wrong between us and Docker.

use std::time::Duration;

use bollard::errors::Error as Bollard;

use crate::model::{Class, Classify};

/// A failed call to the Docker Engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DockerError {
    /// Nobody answers on the socket.
    #[error("Docker cannot be reached on {socket}: {why}")]
    Unreachable {
        /// Where it was looked for.
        socket: String,
        /// What the connection said.
        why: String,
    },
    /// No answer in time.
    #[error("Docker did not answer `{call}` within {limit:?}")]
    Silent {
        /// What was asked.
        call: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The image is not on this host.
    #[error("image `{image}` is not on this host")]
    ImageMissing {
        /// Its name.
        image: String,
    },
    /// The name belonged to a container that went away while it was looked up.
    #[error("container name `{name}` was taken a moment ago")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// No such container.
    #[error("container `{name}` does not exist")]
    Gone {
        /// Its name or id.
        name: String,
    },
    /// The container is being changed by somebody else, such as a removal under way.
    #[error("container `{name}` is busy: {message}")]
    Busy {
        /// Its name or id.
        name: String,
        /// Docker's words.
        message: String,
    },
    /// Docker understood and declined.
    #[error("Docker refused `{call}`: {message}")]
    Refused {
        /// What was asked.
        call: &'static str,
        /// Docker's words.
        message: String,
    },
    /// Docker tried and could not: its own trouble, or that of the runtime below.
    #[error("Docker failed at `{call}`: {message}")]
    Failed {
        /// What was asked.
        call: &'static str,
        /// Docker's words.
        message: String,
    },
    /// An answer that makes no sense.
    #[error("Docker's answer to `{call}` is unreadable: {message}")]
    Unreadable {
        /// What was asked.
        call: &'static str,
        /// What was wrong with it.
        message: String,
    },
}

impl DockerError {
    /// Reads bollard's error; `subject` is the container, image or socket that the call was about.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "bollard's other errors all say one thing: the answer made no sense"
    )]
    pub(super) fn read(call: &'static str, socket: &str, subject: &str, error: Bollard) -> Self {
        let unreachable = |why: String| Self::Unreachable {
            socket: socket.to_owned(),
            why,
        };
        let subject = subject.to_owned();
        match error {
            Bollard::DockerResponseServerError {
                status_code,
                message,
            } => match (call, status_code) {
                ("create" | "image", 404) => Self::ImageMissing { image: subject },
                (_, 404) => Self::Gone { name: subject },
                (_, 409) => Self::Busy {
                    name: subject,
                    message,
                },
                (_, 400..=499) => Self::Refused { call, message },
                _ => Self::Failed { call, message },
            },
            Bollard::DockerStreamError { error } => Self::Failed {
                call,
                message: error,
            },
            Bollard::RequestTimeoutError => unreachable("no answer in time".to_owned()),
            Bollard::SocketNotFoundError(_) => unreachable("no such socket".to_owned()),
            Bollard::IOError { err } => unreachable(err.to_string()),
            Bollard::HyperResponseError { err } => unreachable(deepest(&err)),
            Bollard::HyperLegacyError { err } => unreachable(deepest(&err)),
            other => Self::Unreadable {
                call,
                message: other.to_string(),
            },
        }
    }
}

/// The innermost cause: "connection refused" says more than "client error (Connect)".
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

impl Classify for DockerError {
    fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Busy { .. } => {
                Class::Unavailable
            }
            Self::ImageMissing { .. } | Self::Gone { .. } => Class::NotFound,
            Self::NameTaken { .. } => Class::Conflict,
            Self::Refused { .. } | Self::Failed { .. } | Self::Unreadable { .. } => Class::Internal,
        }
    }
}
