//! Ending the relay of a runtime directory, whoever started it.

use std::{fs, io, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tracing::warn;

use super::{Paths, runtime_dir};
use crate::runtime::Death;

/// How long a relay may take to stop before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// Stops the relay of a runtime directory, if one runs; returns once it is gone.
///
/// # Errors
/// Whatever the kernel says of signalling it; or that the pid file names a process that is not of the
/// relay's user: what is written there is only that user's word.
pub async fn stop(paths: &Paths) -> io::Result<()> {
    end(paths, STOP_LIMIT).await?;
    clear_stale(paths)
}

/// Kills a relay that would not listen, if one runs; returns once it is gone. What it left lies there:
/// another may be on its way already, with sockets of the same names.
///
/// # Errors
/// Those of [`stop`].
pub async fn kill(paths: &Paths) -> io::Result<()> {
    end(paths, Duration::ZERO).await
}

/// Asks politely, and after `patience` not any more.
async fn end(paths: &Paths, patience: Duration) -> io::Result<()> {
    let Some(relay) = runtime_dir::living(&paths.pid())? else {
        return Ok(());
    };
    let named = relay.pid.and_then(Pid::from_raw);
    let pid = named.ok_or_else(|| io::Error::other("the relay's pid file names no process"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    // After the pidfd was opened: what is read is of the process that will be signalled.
    if runtime_dir::user_of(pid.as_raw_nonzero().get())? != relay.user {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} names a process that is not the relay",
                paths.pid().display()
            ),
        ));
    }
    pidfd_send_signal(&pidfd, Signal::TERM)?;
    let death = Death::of(pidfd)?;
    if tokio::time::timeout(patience, death.wait()).await.is_err() {
        warn!(
            pid = pid.as_raw_nonzero(),
            "the relay does not stop and is killed"
        );
        pidfd_send_signal(death.fd(), Signal::KILL)?;
        death.wait().await?;
    }
    Ok(())
}

/// What a dead relay left behind.
pub(super) fn clear_stale(paths: &Paths) -> io::Result<()> {
    for path in [paths.socket(), paths.fd_socket(), paths.pid()] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use nix::{
        fcntl::{Flock, FlockArg},
        unistd::geteuid,
    };
    use std::os::unix::fs::chown;

    use super::*;

    #[tokio::test]
    async fn only_a_process_of_the_relays_user_is_stopped() {
        if !geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            root: dir.path().to_owned(),
        };
        fs::write(paths.pid(), std::process::id().to_string()).unwrap();
        chown(paths.pid(), Some(65_534), None).unwrap();
        let file = File::open(paths.pid()).unwrap();
        let _held = Flock::lock(file, FlockArg::LockExclusive).unwrap();
        let refused = stop(&paths).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
}
