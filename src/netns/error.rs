//! Why a namespace was not entered or not furnished.

use std::io;

use crate::model::{Class, Classify};

/// Why a namespace was not entered or not furnished.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The process is dead, and its namespace is on its way.
    #[error("the container's process is gone")]
    Gone,
    /// Root without the capabilities, or no root.
    #[error("entering a network namespace needs CAP_SYS_ADMIN and CAP_SYS_PTRACE")]
    Forbidden,
    /// Somebody listens there already.
    #[error("port 3128 is taken inside the namespace")]
    PortTaken,
    /// The kernel said no.
    #[error("could not {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl NetnsError {
    pub(super) const fn io(doing: &'static str, source: io::Error) -> Self {
        Self::Io { doing, source }
    }
}

impl Classify for NetnsError {
    fn class(&self) -> Class {
        match self {
            Self::Gone => Class::Unavailable,
            Self::PortTaken => Class::Conflict,
            Self::Forbidden | Self::Io { .. } => Class::Internal,
        }
    }
}
