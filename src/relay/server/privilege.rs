//! What the relay gives up before it serves anybody, and who may order it about.

use std::{io, os::fd::RawFd};

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::{Uid, User, geteuid, setgid, setgroups, setuid},
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities,
};
use tracing::warn;

use super::Failed;

/// Standard input, output and error are meant for us.
const LAST_STANDARD: RawFd = 2;
const NO_CAPABILITY: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// Whether a process of this user may give orders: root, or the relay's own user.
pub(super) fn may_command(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// Whatever the agent itself was started with (a job server's pipe, a caller's lock) would be held by
/// us for as long as sessions live. Nothing of our own is open yet.
pub(super) fn close_inherited() -> io::Result<()> {
    let mut inherited = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name();
        inherited.extend(number.to_str().and_then(|text| text.parse::<RawFd>().ok()));
    }
    for number in inherited
        .into_iter()
        .filter(|number| *number > LAST_STANDARD)
    {
        // The folder's own is in the list, and closed by now.
        match nix::unistd::close(number) {
            Ok(()) | Err(Errno::EBADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// As many descriptors as the host allows: sessions are made of them.
pub(super) fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "the limit of open descriptors stays as it is");
    }
}

/// Gives root and every capability up for good.
pub(super) fn give_up(user: &str) -> Result<(), Failed> {
    let failed = |why: String| Failed::User {
        user: user.to_owned(),
        why,
    };
    if geteuid().is_root() && !user.is_empty() {
        let found = User::from_name(user)
            .map_err(|error| failed(error.to_string()))?
            .ok_or_else(|| failed("there is no such user".to_owned()))?;
        setgroups(&[found.gid])
            .and_then(|()| setgid(found.gid))
            .and_then(|()| setuid(found.uid))
            .map_err(|error| failed(error.to_string()))?;
        if setuid(Uid::from_raw(0)).is_ok() {
            return Err(failed("root could be taken back".to_owned()));
        }
    }
    // Another user may have been started with some, and passed them on.
    clear_ambient_capability_set()
        .and_then(|()| set_capabilities(None, NO_CAPABILITY))
        .map_err(|error| failed(error.to_string()))?;
    nix::sys::prctl::set_no_new_privs().map_err(|error| failed(error.to_string()))
}
