//! Connections into a container that has no network.
//!
//! A TCP socket belongs to the network namespace that it was made in, for ever. The agent makes a
//! handful of unconnected ones inside the container's namespace and hands them over; connecting one
//! of them from out here reaches `127.0.0.1` in there (socket(7), network_namespaces(7)).

use std::{collections::VecDeque, io, net::SocketAddr, os::fd::OwnedFd, time::Duration};

use parking_lot::Mutex;
use socket2::{SockAddr, SockRef, Socket};
use tokio::{net::TcpStream, sync::Notify, time::timeout};

/// Below this many spare sockets the agent is asked for more.
const LOW_WATER: usize = 6;
/// A dial that waits for a socket asks again after this long: the first request may have met an agent
/// that was just going away.
const ASK_AGAIN: Duration = Duration::from_secs(1);

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

    /// Connects to the target; waits for a socket where none is left. A refused dial gives its socket
    /// back. Cancel-safe, but a cancelled dial uses its socket up.
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
            // Either way: look again.
            drop(timeout(ASK_AGAIN, refilled).await);
        };
        // Linux lets a refused socket try again, so waiting for a listener costs one socket, not one
        // for each try.
        match attempt(socket, self.target).await {
            Ok(stream) => Ok(stream),
            Err(Failed { error, socket }) => {
                if let Some(socket) = socket {
                    self.refill([socket]);
                }
                Err(error)
            }
        }
    }
}

/// A dial that failed, and the socket when it is as good as new.
#[derive(Debug)]
struct Failed {
    error: io::Error,
    socket: Option<OwnedFd>,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self {
            error,
            socket: None,
        }
    }
}

async fn attempt(socket: OwnedFd, target: SocketAddr) -> Result<TcpStream, Failed> {
    let socket = Socket::from(socket);
    let target = SockAddr::from(target);
    let stream = match socket.connect(&target) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(refused(error, socket.into()));
        }
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(error.into()),
        _ => TcpStream::from_std(socket.into())?,
    };
    stream.writable().await?;
    // A second connect(2) fetches the outcome of the first and, unlike SO_ERROR, makes the socket
    // ready for another one.
    match SockRef::from(&stream).connect(&target) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(refused(error, stream.into_std()?.into()))
        }
        Err(error) if error.raw_os_error() != Some(EISCONN) => Err(error.into()),
        _ => {
            stream.set_nodelay(true)?;
            Ok(stream)
        }
    }
}

const fn refused(error: io::Error, socket: OwnedFd) -> Failed {
    Failed {
        error,
        socket: Some(socket),
    }
}

const EINPROGRESS: i32 = nix::libc::EINPROGRESS;
const EISCONN: i32 = nix::libc::EISCONN;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;

    use super::*;

    fn socket() -> OwnedFd {
        Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::STREAM.nonblocking(),
            None,
        )
        .unwrap()
        .into()
    }

    #[tokio::test]
    async fn a_refused_socket_is_used_again() {
        let reserved = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let reserved = reserved.unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        reserved.bind(&any.into()).unwrap();
        let target = reserved.local_addr().unwrap().as_socket().unwrap();
        let dialer = Dialer::new(target, [socket()]);
        for _ in 0..3 {
            let refused = dialer.connect().await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            assert_eq!(dialer.spare(), 1);
        }
        reserved.listen(1).unwrap();
        drop(dialer.connect().await.unwrap());
        assert_eq!(dialer.spare(), 0);
    }

    #[tokio::test]
    async fn a_dial_waits_for_a_socket_and_rings_for_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialer = Arc::new(Dialer::new(listener.local_addr().unwrap(), [socket()]));
        drop(dialer.connect().await.unwrap());
        dialer.running_low().await;
        let refill = async {
            // Whoever was rung for first did nothing.
            dialer.running_low().await;
            dialer.running_low().await;
            dialer.refill([socket()]);
        };
        let (stream, ()) = tokio::join!(dialer.connect(), refill);
        drop(stream.unwrap());
    }
}
