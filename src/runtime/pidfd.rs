//! Waiting for the death of a process that is not our child.

use std::{io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

/// A pidfd (pidfd_open(2)) in the reactor: it turns readable when its process dies, and never speaks
/// of a later process with the same number.
#[derive(Debug)]
pub struct Death(AsyncFd<OwnedFd>);

impl Death {
    /// Watches the process behind `pidfd`. Must be called on the runtime.
    ///
    /// # Errors
    /// When the reactor cannot take the descriptor.
    #[expect(
        deprecated,
        reason = "the replacement is unsafe because a file may be closed under the reactor; an OwnedFd that we own cannot"
    )]
    pub fn of(pidfd: OwnedFd) -> io::Result<Self> {
        AsyncFd::new(pidfd).map(Self)
    }

    /// Returns once the process is dead. Cancel-safe.
    ///
    /// # Errors
    /// When the reactor is gone.
    pub async fn wait(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// The descriptor, for signalling.
    #[must_use]
    pub fn fd(&self) -> &OwnedFd {
        self.0.get_ref()
    }
}
