//! What a service manager and an operator tell a role.

use std::{future, io};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, getppid, pidfd_open},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::debug;

use crate::runtime::Death;

/// The signals that we follow, and the death of whoever started us where that ends us too.
pub(super) struct Ends {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    parent: Option<Parent>,
}

/// What we are asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// SIGTERM, ctrl-C, or the death of whoever started us.
    End,
    /// SIGHUP: read certificates and names again.
    Reload,
}

/// Whoever started us.
enum Parent {
    Lives(Death),
    /// It was gone before it could be watched.
    Gone,
}

impl Ends {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            parent: None,
        })
    }

    /// The same, and the death of `parent`, who must be our parent now.
    pub(super) fn with_parent(parent: Option<u32>) -> io::Result<Self> {
        Ok(Self {
            parent: parent.map(Parent::watch).transpose()?,
            ..Self::new()?
        })
    }

    /// Returns at the next of the signals. Cancel-safe.
    pub(super) async fn next(&mut self) -> Ask {
        tokio::select! {
            _ = self.terminate.recv() => Ask::End,
            _ = self.interrupt.recv() => Ask::End,
            () = Parent::gone(self.parent.as_ref()) => Ask::End,
            _ = self.hangup.recv() => Ask::Reload,
        }
    }

    /// Returns at the next that ends us. Cancel-safe.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = Parent::gone(self.parent.as_ref()) => {}
        }
    }
}

impl Parent {
    fn watch(pid: u32) -> io::Result<Self> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return Ok(Self::Gone);
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The number may be somebody else's by now: then it is not our parent's.
            Ok(pidfd) if getppid() == Some(pid) => Death::of(pidfd).map(Self::Lives),
            Ok(_) | Err(Errno::SRCH) => Ok(Self::Gone),
            Err(error) => Err(error.into()),
        }
    }

    async fn gone(parent: Option<&Self>) {
        match parent {
            Some(Self::Gone) => {}
            Some(Self::Lives(death)) => {
                if let Err(error) = death.wait().await {
                    debug!(%error, "the parent is not watched any more");
                    future::pending().await
                }
            }
            None => future::pending().await,
        }
    }
}
