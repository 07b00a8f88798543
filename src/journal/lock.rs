//! One agent per state directory.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use nix::fcntl::{Flock, FlockArg};

use super::JournalError;

/// `S/lock`, held for as long as this lives; the kernel lets go of it when the process ends.
#[derive(Debug)]
pub struct StateLock {
    _file: Flock<File>,
}

impl StateLock {
    /// Makes the state directory where there is none, and takes its lock.
    ///
    /// # Errors
    /// [`JournalError::Locked`] names the agent that holds it.
    pub fn take(state_dir: &Path) -> Result<Self, JournalError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)
            .map_err(JournalError::at(state_dir))?;
        let path = state_dir.join("lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(JournalError::at(&path))?;
        let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let read = file.read_to_string(&mut pid);
                let pid = match read {
                    Ok(_) if !pid.trim().is_empty() => pid.trim().to_owned(),
                    _ => "unknown".to_owned(),
                };
                return Err(JournalError::Locked { path, pid });
            }
            Err((_, error)) => return Err(JournalError::at(path)(error.into())),
        };
        let sign = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        sign(&mut file).map_err(JournalError::at(&path))?;
        Ok(Self { _file: file })
    }

    /// Whether somebody holds the lock of `state_dir` now.
    #[must_use]
    pub fn is_held(state_dir: &Path) -> bool {
        let Ok(file) = File::open(state_dir.join("lock")) else {
            return false;
        };
        Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
    }
}
