//! Why an instance did not start, and whose fault that is.

use std::{io, time::Duration};

use super::{machine::Denied, substrate::android::Failed};
use crate::{
    docker::DockerError,
    journal::JournalError,
    model::{Blame, Class, Classify, Failure},
    netns::NetnsError,
    relay::client::RelayError,
};

/// A start that failed. Everything made on the way is taken back by the destroy path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Nobody offers such a device.
    #[error("there is no device profile `{0}`")]
    UnknownProfile(String),
    /// Docker.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The container's init went before the phone was one.
    #[error("the browser exited with {code}{}: {last_words}", if *oom { " (out of memory)" } else { "" })]
    BrowserExited {
        /// With what.
        code: i64,
        /// Whether the kernel killed something in it for memory.
        oom: bool,
        /// The last lines of its log.
        last_words: String,
    },
    /// The container is another one than a moment ago.
    #[error("the container changed while its namespace was entered")]
    Replaced,
    /// The namespace.
    #[error("the container's network namespace: {0}")]
    Namespace(#[from] NetnsError),
    /// A descriptor.
    #[error("the container's process cannot be held: {0}")]
    Process(#[from] io::Error),
    /// The relay, or the browser as the relay found it.
    #[error("the browser could not be made a phone: {0}")]
    Relay(#[from] RelayError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It took too long.
    #[error("the browser was not ready within {limit:?} (still busy with: {stage})")]
    TooSlow {
        /// The limit.
        limit: Duration,
        /// What was going on.
        stage: &'static str,
    },
    /// A device that does not come up.
    #[error("the device is not coming up: {failed}{}", said(evidence))]
    Device {
        /// Which rung it did not reach.
        failed: Failed,
        /// The last lines of its log; empty where nobody could be asked.
        evidence: String,
    },
    /// Others have them all.
    #[error(
        "every binder of this host is another device's; load its module with more, three for each"
    )]
    NoBinder,
    /// Nobody wants it any more.
    #[error("the start was called off")]
    CalledOff,
}

fn said(evidence: &str) -> String {
    if evidence.is_empty() {
        return String::new();
    }
    format!("; its log ends: {evidence}")
}

impl From<Failed> for StartError {
    fn from(failed: Failed) -> Self {
        let evidence = String::new();
        Self::Device { failed, evidence }
    }
}

impl StartError {
    /// What journal and API say of it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let (code, blame) = match self {
            Self::UnknownProfile(_) => ("unknown_profile", Blame::Client),
            Self::Docker(DockerError::ImageMissing { .. }) => ("image_missing", Blame::Host),
            Self::Docker(DockerError::Unreachable { .. } | DockerError::Silent { .. }) => {
                ("docker_unreachable", Blame::Host)
            }
            Self::Docker(_) => ("docker_failed", Blame::Host),
            Self::BrowserExited { .. } => ("browser_exited", Blame::Substrate),
            Self::Replaced => ("container_replaced", Blame::Host),
            Self::Namespace(_) | Self::Process(_) => ("namespace_failed", Blame::Host),
            Self::Relay(
                RelayError::Unreachable(_) | RelayError::Silent { .. } | RelayError::Sockets(_),
            ) => ("relay_unreachable", Blame::Agent),
            Self::Relay(RelayError::Lacks { .. }) => ("relay_outdated", Blame::Agent),
            Self::Relay(_) => ("attach_failed", Blame::Substrate),
            Self::Journal(_) => ("journal_failed", Blame::Agent),
            Self::TooSlow { .. } => ("start_timeout", Blame::Substrate),
            Self::Device {
                failed:
                    failed @ (Failed::WantsKey | Failed::KeyRefused { .. } | Failed::NoKey { .. }),
                ..
            } => (failed.code(), Blame::Host),
            Self::Device { failed, .. } => (failed.code(), Blame::Substrate),
            Self::NoBinder => ("no_binder", Blame::Host),
            Self::CalledOff => ("called_off", Blame::Client),
        };
        let message = if let Self::Docker(DockerError::ImageMissing { image }) = self {
            format!("image `{image}` is not on this host; `chaser image build` makes it")
        } else {
            self.to_string()
        };
        Failure {
            code: code.to_owned(),
            message,
            blame,
        }
    }
}

/// An order that an instance could not follow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// Not in this state.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The relay.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// Nobody knows any more how its connections leave.
    #[error("its way out is not known any more")]
    NoWay,
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Docker.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The namespace.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    /// A descriptor.
    #[error("the container's process cannot be held: {0}")]
    Process(#[from] io::Error),
    /// It was not started by this agent, or is gone.
    #[error("nothing is held of the instance")]
    NotHeld,
    /// Of a device: the key to show it.
    #[error(transparent)]
    Key(#[from] Failed),
    /// It still runs although it was killed.
    #[error("the container does not die")]
    Undead,
}

impl Classify for InstanceError {
    fn class(&self) -> Class {
        match self {
            Self::Denied(_) => Class::Conflict,
            Self::Relay(error) => error.class(),
            Self::Journal(error) => error.class(),
            Self::Docker(error) => error.class(),
            Self::Namespace(error) => error.class(),
            Self::Process(_) | Self::Undead | Self::Key(_) => Class::Internal,
            Self::NotHeld | Self::NoWay => Class::NotFound,
        }
    }
}
