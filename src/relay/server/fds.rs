//! The hand-over socket: descriptors come in over `R/relay-fd.sock`.
//!
//! Seqpacket sockets have no place in the reactor's listener types and an exchange takes
//! microseconds, so one plain thread serves them one after the other. It ends with the process.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
    sockopt::{Timeout, set_socket_timeout, socket_peercred},
};
use tracing::warn;

use super::{
    Relay,
    attachment::{Attachment, Staged},
};
use crate::{
    model::InstanceId,
    relay::handover::{self, Packet, Reply},
};

/// A peer that says nothing for this long is dropped.
const PATIENCE: Duration = Duration::from_secs(2);

/// Binds the socket; whatever stood there before belonged to a dead relay.
pub(super) fn open(path: &std::path::Path) -> io::Result<OwnedFd> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(0o600))?;
    listen(&socket, 64)?;
    Ok(socket)
}

/// Serves exchanges for as long as the process lives.
pub(super) fn serve(socket: OwnedFd, relay: Arc<Relay>, gateway: OwnedFd) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("handover".to_owned());
    let handle = thread.spawn(move || {
        loop {
            match accept_with(&socket, SocketFlags::CLOEXEC) {
                Ok(peer) => {
                    if let Err(error) = exchange(&peer, &relay, &gateway) {
                        warn!(%error, "a hand-over failed");
                    }
                }
                Err(error) => {
                    warn!(%error, "no hand-over can be accepted");
                    rest();
                }
            }
        }
    })?;
    // Detached: nothing waits for it.
    drop(handle);
    Ok(())
}

fn exchange(peer: &OwnedFd, relay: &Relay, gateway: &OwnedFd) -> io::Result<()> {
    let uid = socket_peercred(peer)?.uid;
    if !super::privilege::may_command(uid.as_raw()) {
        return Err(io::Error::other(format!(
            "user {} may not hand over",
            uid.as_raw()
        )));
    }
    set_socket_timeout(peer, Timeout::Recv, Some(PATIENCE))?;
    set_socket_timeout(peer, Timeout::Send, Some(PATIENCE))?;
    let Some((packet, fds)) = handover::receive::<Packet>(peer)? else {
        return Ok(());
    };
    match take(relay, packet, fds) {
        Ok(Wanted::Nothing) => handover::send(peer, &Reply::Done, &[]),
        Ok(Wanted::Gateway) => handover::send(peer, &Reply::Done, &[gateway.as_fd()]),
        Ok(Wanted::Listener(listener)) => handover::send(peer, &Reply::Done, &[listener.as_fd()]),
        Err(why) => handover::send(peer, &Reply::Refused(why), &[]),
    }
}

enum Wanted {
    Nothing,
    Gateway,
    Listener(OwnedFd),
}

fn take(relay: &Relay, packet: Packet, fds: Vec<OwnedFd>) -> Result<Wanted, String> {
    match packet {
        Packet::Gateway => Ok(Wanted::Gateway),
        Packet::Instance(instance) => {
            let mut fds = fds.into_iter();
            let (Some(pidfd), Some(egress)) = (fds.next(), fds.next()) else {
                return Err("an instance needs a pidfd and a listener".to_owned());
            };
            let staged = Staged {
                pidfd,
                egress,
                dial: fds.collect(),
            };
            relay.instances.stage(instance, staged)?;
            Ok(Wanted::Nothing)
        }
        Packet::Egress(instance) => {
            let listener = attached(relay, instance)?.egress_listener();
            let listener = listener.map_err(|error| format!("{instance} has none: {error}"))?;
            Ok(Wanted::Listener(listener))
        }
        Packet::Refill(instance) => {
            attached(relay, instance)?.devtools.refill(fds);
            Ok(Wanted::Nothing)
        }
    }
}

fn attached(relay: &Relay, instance: InstanceId) -> Result<Arc<Attachment>, String> {
    let attachment = relay.instances.get(instance);
    attachment.ok_or_else(|| format!("{instance} is not attached"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a plain thread of its own: nothing else waits for it"
)]
fn rest() {
    std::thread::sleep(Duration::from_millis(100));
}
