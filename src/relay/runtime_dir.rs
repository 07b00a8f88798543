//! Opening things in the runtime directory, in which the relay's user may make files of its own.
//!
//! The directory is sticky: that user can neither remove nor rename what is root's there. But it can
//! be first with a name, and in place of what is its own it can put a link or a pipe. The agent is
//! root and must not be led out of the directory, nor be made to wait: nothing here follows a link,
//! and what is opened is looked at before it is used.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc::{O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK},
    unistd::geteuid,
};

/// A pid and a line end are never longer.
const MAX_PID: u64 = 32;

/// A folder that only `owner` (user and group) may use; `None` keeps it ours.
///
/// # Errors
/// Whatever the file system says, or that something else stands there.
pub(super) fn folder(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let folder = OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_DIRECTORY)
        .open(path)?;
    let Some((user, group)) = owner else {
        return folder.set_permissions(Permissions::from_mode(0o700));
    };
    let found = folder.metadata()?.uid();
    if found != user && found != geteuid().as_raw() {
        return Err(foreign(path));
    }
    folder.set_permissions(Permissions::from_mode(0o700))?;
    fchown(&folder, Some(user), Some(group))
}

/// Opens a file of ours as `options` say; whatever else stands there gives way to it.
///
/// # Errors
/// Whatever the file system says.
pub(super) fn own_file(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(O_NOFOLLOW | O_NONBLOCK);
    match options.open(path) {
        Ok(file) if is_ours(&file)? => return Ok(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::remove_file(path)?;
    // Not twice: whoever was quicker again is not given way to.
    options.create_new(true).open(path)
}

/// A regular file with this one name.
fn is_ours(file: &File) -> io::Result<bool> {
    let found = file.metadata()?;
    Ok(found.is_file() && found.nlink() == 1 && found.uid() == geteuid().as_raw())
}

/// What the pid file of a living relay says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Living {
    /// The pid, once it is written.
    pub(super) pid: Option<i32>,
    /// Whose file it is: the user that the relay runs as.
    pub(super) user: u32,
}

/// The relay that holds the pid file; `None` where nobody does. Only the holder of its lock is the
/// relay: a reused pid is not.
///
/// # Errors
/// Whatever the file system says.
pub(super) fn living(path: &Path) -> io::Result<Option<Living>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A link: no relay put it there.
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Ok(None);
    }
    let mut text = String::new();
    (&file).take(MAX_PID).read_to_string(&mut text)?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_free) => Ok(None),
        Err((_, Errno::EWOULDBLOCK)) => Ok(Some(Living {
            pid: text.trim().parse().ok(),
            user: found.uid(),
        })),
        Err((_, error)) => Err(error.into()),
    }
}

fn foreign(path: &Path) -> io::Error {
    let what = format!("{} belongs to another user; remove it", path.display());
    io::Error::new(io::ErrorKind::PermissionDenied, what)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    fn us() -> (u32, u32) {
        (geteuid().as_raw(), nix::unistd::getegid().as_raw())
    }

    #[test]
    fn a_link_in_place_of_a_folder_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, folder_) = (dir.path().join("etc"), dir.path().join("meter"));
        fs::create_dir(&victim).unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o755)).unwrap();
        symlink(&victim, &folder_).unwrap();
        folder(&folder_, Some(us())).unwrap_err();
        folder(&folder_, None).unwrap_err();
        let mode = fs::metadata(&victim).unwrap().mode();
        assert_eq!(mode & 0o777, 0o755);
        fs::remove_file(&folder_).unwrap();
        folder(&folder_, Some(us())).unwrap();
        folder(&folder_, Some(us())).unwrap();
        assert_eq!(fs::metadata(&folder_).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_not_ours_gives_way_to_our_file_and_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, log) = (dir.path().join("victim"), dir.path().join("relay.log"));
        fs::write(&victim, "x").unwrap();
        let open = || own_file(&log, OpenOptions::new().append(true).create(true));
        symlink(&victim, &log).unwrap();
        io::Write::write_all(&mut open().unwrap(), b"log").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"x");
        assert_eq!(fs::read(&log).unwrap(), b"log");
        io::Write::write_all(&mut open().unwrap(), b"!").unwrap();
        assert_eq!(fs::read(&log).unwrap(), b"log!");
        // Another name of the same file, and something that is no file.
        fs::remove_file(&log).unwrap();
        fs::hard_link(&victim, &log).unwrap();
        io::Write::write_all(&mut open().unwrap(), b"log").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"x");
        fs::remove_file(&log).unwrap();
        mkfifo(&log, Mode::S_IRWXU).unwrap();
        drop(open().unwrap());
        assert!(fs::symlink_metadata(&log).unwrap().is_file());
    }

    #[test]
    fn only_whoever_holds_the_lock_lives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relay.pid");
        assert_eq!(living(&path).unwrap(), None);
        fs::write(&path, "42\n").unwrap();
        assert_eq!(living(&path).unwrap(), None);
        let file = File::open(&path).unwrap();
        let held = Flock::lock(file, FlockArg::LockExclusive).unwrap();
        let living_ = living(&path).unwrap().unwrap();
        assert_eq!((living_.pid, living_.user), (Some(42), us().0));
        drop(held);
        fs::remove_file(&path).unwrap();
        symlink("/dev/zero", &path).unwrap();
        assert_eq!(living(&path).unwrap(), None);
        fs::remove_file(&path).unwrap();
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_eq!(living(&path).unwrap(), None);
    }
}
