//! The streams of one connection, as a state that packets and users change. No I/O, no clock: whoever
//! waits leaves a waker.

use std::{
    collections::{HashMap, VecDeque},
    io,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::{
    Lost, Malformed,
    packet::{Command, Packet},
};

/// Streams of one connection at once.
pub(super) const MAX_STREAMS: usize = 256;
/// Packets that wait for the socket before no more are read. The streams' own are bounded by their
/// credit; this bounds what a peer can make us answer.
const MAX_WAITING: usize = 16 * MAX_STREAMS;
/// What all streams together may hold unread, bytes: each its packet, and what comes at their ends.
const MAX_HELD: usize = 80 << 20;
/// Packets of one stream that may come at its end.
const MAX_UNASKED: usize = 1024;

/// One stream.
#[derive(Debug, Default)]
struct Entry {
    /// The peer's id, once it has agreed.
    remote: Option<u32>,
    /// The peer has closed it, or never agreed.
    closed: bool,
    /// What has come and was not read yet: the one packet that the peer may have under way. Where a
    /// service has ended, adbd sends all that is left of it without waiting.
    inbound: VecDeque<Bytes>,
    /// Whether the peer has room for a packet of ours.
    credit: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Entry {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

/// Streams by our id, and what is to be sent.
#[derive(Debug)]
pub(super) struct Mux {
    streams: HashMap<u32, Entry>,
    last: u32,
    /// What the peer takes in one packet.
    payload: usize,
    /// Bytes in all inbound packets.
    held: usize,
    waiting: VecDeque<Packet>,
    /// Whoever sends what waits, and whoever reads once there is room.
    sender: Option<Waker>,
    receiver: Option<Waker>,
    lost: Option<Lost>,
}

impl Mux {
    /// For a peer that takes `payload` bytes in a packet.
    pub(super) fn new(payload: usize) -> Self {
        Self {
            streams: HashMap::new(),
            last: 0,
            payload,
            held: 0,
            waiting: VecDeque::new(),
            sender: None,
            receiver: None,
            lost: None,
        }
    }

    fn send(&mut self, packet: Packet) {
        if self.lost.is_some() {
            return;
        }
        self.waiting.push_back(packet);
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }

    // === What the socket does ===

    /// A packet from the peer.
    ///
    /// # Errors
    /// [`Malformed`] for what ends the connection.
    pub(super) fn receive(&mut self, packet: Packet) -> Result<(), Malformed> {
        let (theirs, ours) = (packet.arg0, packet.arg1);
        match packet.command {
            Command::Okay => match self.streams.get_mut(&ours) {
                Some(entry) if entry.remote.is_none_or(|remote| remote == theirs) => {
                    entry.remote = Some(theirs);
                    entry.credit = true;
                    entry.wake();
                }
                // Opened, and given up meanwhile.
                _ => self.send(Packet::bare(Command::Close, ours, theirs)),
            },
            Command::Write => match self.streams.get_mut(&ours) {
                Some(entry) if entry.remote == Some(theirs) && !entry.closed => {
                    self.held += packet.payload.len();
                    if self.held > MAX_HELD || entry.inbound.len() >= MAX_UNASKED {
                        return Err(Malformed::Unasked(ours));
                    }
                    entry.inbound.push_back(packet.payload);
                    entry.wake();
                }
                _ => self.send(Packet::bare(Command::Close, ours, theirs)),
            },
            // An answer to our own, or of a stream that never was, is nothing to us.
            Command::Close => {
                if let Some(entry) = self.streams.get_mut(&ours)
                    && (theirs == 0 || entry.remote.is_none_or(|remote| remote == theirs))
                {
                    entry.closed = true;
                    entry.wake();
                }
            }
            Command::Connect | Command::Auth | Command::StartTls | Command::Open => {
                return Err(Malformed::Misplaced);
            }
        }
        Ok(())
    }

    /// The next packet for the socket.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Packet> {
        if let Some(packet) = self.waiting.pop_front() {
            if self.waiting.len() < MAX_WAITING
                && let Some(receiver) = self.receiver.take()
            {
                receiver.wake();
            }
            return Poll::Ready(packet);
        }
        self.sender = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready while the peer's packets may be read: a peer that reads none of our answers is not.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.len() < MAX_WAITING {
            return Poll::Ready(());
        }
        self.receiver = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Nothing goes any more: everybody is told.
    pub(super) fn lose(&mut self, why: Lost) {
        self.lost.get_or_insert(why);
        self.waiting.clear();
        for entry in self.streams.values_mut() {
            entry.wake();
        }
    }

    // === What users do ===

    /// Asks for a service; `None` where too many are open.
    pub(super) fn open(&mut self, service: Bytes) -> Option<u32> {
        if self.streams.len() >= MAX_STREAMS {
            return None;
        }
        // Never 0. Four milliards of streams on one connection are not reached in a device's life.
        self.last += 1;
        self.streams.insert(self.last, Entry::default());
        self.send(Packet {
            command: Command::Open,
            arg0: self.last,
            arg1: 0,
            payload: service,
        });
        Some(self.last)
    }

    /// Whether the peer agreed, once it has answered.
    pub(super) fn poll_opened(&mut self, id: u32, cx: &Context<'_>) -> Poll<Result<bool, Lost>> {
        if let Some(lost) = &self.lost {
            return Poll::Ready(Err(lost.clone()));
        }
        let Some(entry) = self.streams.get_mut(&id) else {
            return Poll::Ready(Ok(false));
        };
        match entry.remote {
            // One that ends at once has agreed all the same.
            Some(_) => Poll::Ready(Ok(true)),
            None if entry.closed => Poll::Ready(Ok(false)),
            None => {
                entry.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The packet that has come, which is acknowledged by this; `None` at the end.
    pub(super) fn poll_read(
        &mut self,
        id: u32,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Option<Bytes>>> {
        let Some(entry) = self.streams.get_mut(&id) else {
            return Poll::Ready(Ok(None));
        };
        if let Some(bytes) = entry.inbound.pop_front() {
            self.held -= bytes.len();
            if let (Some(remote), false) = (entry.remote, entry.closed) {
                self.send(Packet::bare(Command::Okay, id, remote));
            }
            return Poll::Ready(Ok(Some(bytes)));
        }
        if entry.closed {
            return Poll::Ready(Ok(None));
        }
        if let Some(lost) = &self.lost {
            return Poll::Ready(Err(broken(lost)));
        }
        entry.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Sends the beginning of `bytes` once the peer has room: how much of them.
    pub(super) fn poll_write(
        &mut self,
        id: u32,
        cx: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.poll_credit(id, cx) {
            Poll::Ready(Ok(remote)) if !bytes.is_empty() => {
                let some = bytes.len().min(self.payload);
                if let Some(entry) = self.streams.get_mut(&id) {
                    entry.credit = false;
                }
                self.send(Packet {
                    command: Command::Write,
                    arg0: id,
                    arg1: remote,
                    payload: Bytes::copy_from_slice(&bytes[..some]),
                });
                Poll::Ready(Ok(some))
            }
            Poll::Ready(outcome) => Poll::Ready(outcome.map(|_remote| 0)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ready once the peer has taken everything that was written, with its id.
    pub(super) fn poll_credit(&mut self, id: u32, cx: &Context<'_>) -> Poll<io::Result<u32>> {
        if let Some(lost) = &self.lost {
            return Poll::Ready(Err(broken(lost)));
        }
        let gone = || Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        let Some(entry) = self.streams.get_mut(&id) else {
            return gone();
        };
        match entry.remote {
            _ if entry.closed => gone(),
            Some(remote) if entry.credit => Poll::Ready(Ok(remote)),
            _ => {
                entry.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Nothing more is written. What has come can still be read.
    pub(super) fn finish(&mut self, id: u32) {
        if let Some(entry) = self.streams.get_mut(&id) {
            let open = !std::mem::replace(&mut entry.closed, true);
            entry.wake();
            if let (Some(remote), true) = (entry.remote, open) {
                self.send(Packet::bare(Command::Close, id, remote));
            }
        }
    }

    /// Nobody has it any more.
    pub(super) fn forget(&mut self, id: u32) {
        self.finish(id);
        if let Some(entry) = self.streams.remove(&id) {
            self.held -= entry.inbound.iter().map(Bytes::len).sum::<usize>();
        }
    }

    /// Why nothing goes any more, if so.
    pub(super) const fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// How many streams there are.
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }
}

fn broken(lost: &Lost) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, lost.clone())
}

#[cfg(test)]
#[path = "mux_tests.rs"]
mod tests;
