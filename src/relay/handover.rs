//! Handing sockets over between agent and relay (`R/relay-fd.sock`: seqpacket, `SCM_RIGHTS`).
//!
//! One connection is one exchange: a packet with a JSON header and its descriptors, and a packet
//! with the answer and perhaps descriptors. Everything here blocks, briefly and bounded: callers run
//! it beside the reactor.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, recvmsg, sendmsg, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::model::InstanceId;

/// The most descriptors that one packet carries (the kernel's limit is 253).
pub const MAX_FDS: usize = 64;
const MAX_HEADER: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(5);

/// What the agent sends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packet {
    /// Descriptors: the pidfd of the container's init, the egress listener, sockets toward DevTools.
    Instance(InstanceId),
    /// Descriptors: more sockets toward DevTools.
    Refill(InstanceId),
    /// Asks for a duplicate of the gateway's listener.
    Gateway,
    /// Asks for a duplicate of an attached instance's egress listener.
    Egress(InstanceId),
}

/// What the relay answers; to a question for a listener with one descriptor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Taken.
    Done,
    /// Not taken, and why.
    Refused(String),
}

/// Sends one packet with its descriptors.
///
/// # Errors
/// Whatever the socket says.
pub fn send<T: Serialize>(socket: impl AsFd, header: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let header = serde_json::to_vec(header).map_err(io::Error::other)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one packet"));
    }
    sendmsg(
        socket,
        &[IoSlice::new(&header)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives one packet with its descriptors; `None` at the end of the connection.
///
/// # Errors
/// Whatever the socket says, or a header that cannot be read.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut header = [0_u8; MAX_HEADER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut header)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    // The kernel drops what finds no room, in the packet or in the table of descriptors.
    if message
        .flags
        .intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC)
    {
        return Err(io::Error::other("a packet did not arrive whole"));
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    let header = serde_json::from_slice(&header[..message.bytes]).map_err(io::Error::other)?;
    Ok(Some((header, fds)))
}

/// The agent's half: one exchange with the relay behind `path`.
///
/// # Errors
/// Whatever the socket says, or the relay's refusal.
pub fn exchange(path: &Path, packet: &Packet, fds: &[BorrowedFd<'_>]) -> io::Result<Vec<OwnedFd>> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    send(&socket, packet, fds)?;
    match receive::<Reply>(&socket)? {
        Some((Reply::Done, fds)) => Ok(fds),
        Some((Reply::Refused(why), _)) => Err(io::Error::other(why)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::socketpair;

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    #[test]
    fn a_packet_comes_with_all_its_descriptors_or_not_at_all() {
        let (ours, theirs) = pair();
        let many = [theirs.as_fd(); MAX_FDS];
        send(&ours, &Packet::Gateway, &many).unwrap();
        let (_, fds) = receive::<Packet>(&theirs).unwrap().unwrap();
        assert_eq!(fds.len(), MAX_FDS);
        drop(fds);
        send(&ours, &"x".repeat(MAX_HEADER), &many).unwrap();
        receive::<String>(&theirs).unwrap_err();
    }
}
