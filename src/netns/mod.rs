//! Entering a container's network namespace, and what is made in there.
//!
//! A container has no network: its namespace holds `lo` and nothing else. A socket belongs to the
//! namespace that it was made in, for ever, so whoever may enter can carry sockets out and hand
//! them to somebody who may not:
//!
//! ```text
//!   agent (root) ── thread: setns(pidfd) ──▶ namespace: listener 127.0.0.1:3128
//!                                                       unconnected sockets (toward DevTools)
//!                                                       wlan0 ◀─veth─▶ ap0, both ends inside
//! ```
//!
//! The veth pair leads nowhere. It is there because Chrome calls a machine with only `lo` offline
//! and tells every page so.
//!
//! A browser in a guest behind a tap is no nearer to the loopback than another machine ([`Browser`]): for
//! it the listener is on every address of the namespace, also of taps that come later, and there is
//! no veth pair, whose network might be the guest's.
//!
//! Entering is done by pidfd, never by pid: a number that was reused cannot be entered. It happens
//! on a thread of its own that ends afterwards, because `setns` changes the thread and a pooled one
//! would carry the namespace into somebody else's work.

mod error;
mod wifi;

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
};

use nix::{errno::Errno, sched::CloneFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;

pub use self::error::NetnsError;

/// Where a browser inside finds its proxy.
pub const EGRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 3128);
/// Connections queue here while the relay restarts.
const BACKLOG: i32 = 1024;

/// Where the browser is that a namespace is furnished for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Browser {
    /// In the namespace itself.
    Inside,
    /// In a guest behind a tap that is in the namespace.
    BehindTap,
}

/// What [`furnish`] made.
#[derive(Debug)]
pub struct Made {
    /// Listens where its browser comes to: on [`EGRESS`], or on that port of every address.
    pub egress: OwnedFd,
    /// Unconnected and non-blocking, to be connected from outside.
    pub dial: Vec<OwnedFd>,
}

/// A handle on a process that cannot be confused with a later one of the same number.
///
/// # Errors
/// `ESRCH` when there is no such process.
pub fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::from(Errno::ESRCH))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Furnishes the network namespace of `pidfd` for such a `browser`: the egress listener, `sockets` sockets to
/// dial with, and the interfaces. Everything but the listener may be there already.
///
/// A dropped future leaves the work to end by itself; what it made is closed again.
///
/// # Errors
/// [`NetnsError`].
pub async fn furnish(
    pidfd: BorrowedFd<'_>,
    browser: Browser,
    sockets: usize,
) -> Result<Made, NetnsError> {
    inside(pidfd, move || {
        wifi::set_up(browser)?;
        let ip = match browser {
            Browser::Inside => *EGRESS.ip(),
            Browser::BehindTap => Ipv4Addr::UNSPECIFIED,
        };
        let egress = listener(ip).map_err(|error| match Errno::try_from(error) {
            Ok(Errno::EADDRINUSE) => NetnsError::PortTaken,
            Ok(errno) => NetnsError::io("listen", errno.into()),
            Err(error) => NetnsError::io("listen", error),
        })?;
        let dial = dial_sockets(sockets)?;
        Ok(Made { egress, dial })
    })
    .await
}

/// More sockets to dial with.
///
/// # Errors
/// [`NetnsError`].
pub async fn sockets(pidfd: BorrowedFd<'_>, count: usize) -> Result<Vec<OwnedFd>, NetnsError> {
    inside(pidfd, move || dial_sockets(count)).await
}

/// Runs `work` in the network namespace of `pidfd`.
async fn inside<T: Send + 'static>(
    pidfd: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T, NetnsError> + Send + 'static,
) -> Result<T, NetnsError> {
    let pidfd = pidfd
        .try_clone_to_owned()
        .map_err(|error| NetnsError::io("duplicate the pidfd", error))?;
    let (done, result) = oneshot::channel();
    let visit = move || {
        let outcome = enter(pidfd.as_fd()).and_then(|()| work());
        // Nobody may be waiting any more: then what was made closes here.
        drop(done.send(outcome));
    };
    let thread = thread::Builder::new().name("netns".to_owned());
    thread
        .spawn(visit)
        .map_err(|error| NetnsError::io("start a thread", error))?;
    result.await.unwrap_or_else(|_gone| {
        let source = io::Error::other("the thread ended without a result");
        Err(NetnsError::io("work inside", source))
    })
}

fn enter(pidfd: BorrowedFd<'_>) -> Result<(), NetnsError> {
    nix::sched::setns(pidfd, CloneFlags::CLONE_NEWNET).map_err(|errno| {
        if errno == Errno::ESRCH {
            NetnsError::Gone
        } else if errno == Errno::EPERM {
            NetnsError::Forbidden
        } else {
            NetnsError::io("enter the namespace", errno.into())
        }
    })
}

fn listener(ip: Ipv4Addr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
    // Connections of an earlier listener may linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddrV4::new(ip, EGRESS.port()).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn dial_sockets(count: usize) -> Result<Vec<OwnedFd>, NetnsError> {
    (0..count)
        .map(|_| Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).map(OwnedFd::from))
        .collect::<io::Result<_>>()
        .map_err(|error| NetnsError::io("make sockets", error))
}

#[cfg(test)]
#[path = "netns_tests.rs"]
mod tests;
