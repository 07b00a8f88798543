//! Connections into a container that has no network.
//!
//! A TCP socket belongs to the network namespace that it was made in, for ever. The agent makes a
//! handful of unconnected ones inside the container's namespace and hands them over; connecting one
//! of them from out here reaches `127.0.0.1` in there (socket(7), network_namespaces(7)).

use std::{collections::VecDeque, io, net::SocketAddr, os::fd::OwnedFd};

use parking_lot::Mutex;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::Notify,
};

/// Below this many spare sockets the agent is asked for more.
const LOW_WATER: usize = 6;

/// Dials one address inside one container.
#[derive(Debug)]
pub struct Dialer {
    target: SocketAddr,
    /// Guarded by a plain lock: held for a push or a pop only.
    spare: Mutex<VecDeque<OwnedFd>>,
    /// Rung when few are left (for whoever asks the agent) …
    low: Notify,
    /// … and when more have come (for dials that found none).
    refilled: Notify,
}

impl Dialer {
    /// A dialer for `target` with the sockets at hand.
    #[must_use]
    pub fn new(target: SocketAddr, sockets: impl IntoIterator<Item = OwnedFd>) -> Self {
        Self {
            target,
            spare: Mutex::new(sockets.into_iter().collect()),
            low: Notify::new(),
            refilled: Notify::new(),
        }
    }

    /// More sockets, made in the same namespace.
    pub fn refill(&self, sockets: impl IntoIterator<Item = OwnedFd>) {
        self.spare.lock().extend(sockets);
        self.refilled.notify_waiters();
    }

    /// How many sockets are left.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.spare.lock().len()
    }

    /// Returns when few sockets are left.
    pub async fn running_low(&self) {
        self.low.notified().await;
    }

    /// Connects to the target; waits for a socket where none is left. Cancel-safe, but a cancelled
    /// dial uses its socket up.
    ///
    /// # Errors
    /// Whatever `connect` says; refused while nothing listens.
    pub async fn connect(&self) -> io::Result<TcpStream> {
        let socket = loop {
            let refilled = self.refilled.notified();
            let (socket, left) = {
                let mut spare = self.spare.lock();
                (spare.pop_front(), spare.len())
            };
            if left < LOW_WATER {
                self.low.notify_one();
            }
            if let Some(socket) = socket {
                break socket;
            }
            refilled.await;
        };
        let stream = TcpSocket::from_std_stream(std::net::TcpStream::from(socket))
            .connect(self.target)
            .await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;

    use super::*;

    fn socket() -> OwnedFd {
        socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::STREAM.nonblocking(),
            None,
        )
        .unwrap()
        .into()
    }

    #[tokio::test]
    async fn a_dial_waits_for_a_socket_and_rings_for_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialer = Arc::new(Dialer::new(listener.local_addr().unwrap(), [socket()]));
        drop(dialer.connect().await.unwrap());
        dialer.running_low().await;
        let refill = async { dialer.refill([socket()]) };
        let (stream, ()) = tokio::join!(dialer.connect(), refill);
        drop(stream.unwrap());
    }
}
