//! The outer leg: the connections that the relay opens on a session's behalf, metered as bytes
//! move, and held upward while the gate is shut.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Socket, TcpKeepalive, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::timeout,
};

use super::{
    bulk::{Pipe, Pull, Push, push_some},
    refusal::{Reason, Refusal},
    source::{Sink, Source},
};
use crate::relay::meter::Meter;

/// One address may take this long to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// More addresses of one name are not tried.
const MAX_ADDRESSES: usize = 6;
/// A peer that vanished is noticed after `IDLE + PROBES × BETWEEN`.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(45);
const KEEPALIVE_BETWEEN: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 4;

/// A connection to an origin.
#[derive(Debug)]
pub(super) struct Outer {
    pub(super) down: Source<Metered<OwnedReadHalf>>,
    pub(super) up: Upward,
}

/// Counts what passes through, as it passes.
#[derive(Debug)]
pub(super) struct Metered<T> {
    io: T,
    open: Arc<Open>,
}

/// Counts a connection for as long as either half of it lives.
#[derive(Debug)]
struct Open(Arc<Meter>);

/// The way up: writes wait while the gate is shut.
#[derive(Debug)]
pub(super) struct Upward {
    io: Metered<OwnedWriteHalf>,
    gate: watch::Receiver<bool>,
}

impl Outer {
    /// Connects to the first of `addresses` that answers, from `source`.
    pub(super) async fn dial(
        addresses: &[SocketAddr],
        source: Option<IpAddr>,
        meter: &Arc<Meter>,
        gate: watch::Receiver<bool>,
    ) -> Result<(Self, SocketAddr), Refusal> {
        let mut last = Refusal::new(Reason::ConnectFailed, "no address to try");
        for address in addresses.iter().take(MAX_ADDRESSES) {
            let socket = socket(*address, source)?;
            last = match timeout(CONNECT_TIMEOUT, socket.connect(*address)).await {
                Ok(Ok(stream)) => return Ok((Self::new(stream, meter, gate), *address)),
                Ok(Err(error)) => Refusal::new(Reason::ConnectFailed, error.kind().to_string()),
                Err(_elapsed) => Refusal::new(Reason::ConnectTimeout, "no answer"),
            };
        }
        Err(last)
    }

    fn new(stream: TcpStream, meter: &Arc<Meter>, gate: watch::Receiver<bool>) -> Self {
        meter.connection_opened();
        let open = Arc::new(Open(Arc::clone(meter)));
        let (down, up) = stream.into_split();
        Self {
            down: Source::new(Metered {
                io: down,
                open: Arc::clone(&open),
            }),
            up: Upward {
                io: Metered { io: up, open },
                gate,
            },
        }
    }

    /// Ends with a reset: the origin shall not take it for a proper end.
    pub(super) fn reset(self) {
        let half = self.up.io.io;
        drop(half.as_ref().set_zero_linger());
        // Dropped, it would say a proper end first.
        half.forget();
    }
}

/// A socket that will leave from `source`.
fn socket(to: SocketAddr, source: Option<IpAddr>) -> Result<TcpSocket, Refusal> {
    let broken = |error: io::Error| Refusal::new(Reason::ConnectFailed, error.kind().to_string());
    let socket =
        Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), None).map_err(broken)?;
    socket.set_tcp_nodelay(true).map_err(broken)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_BETWEEN)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive).map_err(broken)?;
    if let Some(source) = source {
        // The port is chosen at connect, by the whole four-tuple: one address serves many more
        // connections than it has ports.
        setsockopt(&socket, IpBindAddressNoPort, &true).map_err(|errno| broken(errno.into()))?;
        let from = SocketAddr::new(source, 0);
        socket.bind(&from.into()).map_err(|error| {
            let detail = format!("the egress address cannot be bound: {}", error.kind());
            Refusal::new(Reason::NoRoute, detail)
        })?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}

impl Sink for Upward {
    /// Between any two bytes the gate may shut; what was not written by then waits.
    async fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            opened(&mut self.gate).await?;
            let written = tokio::select! {
                biased;
                shut = self.gate.wait_for(|open| !open) => {
                    shut.map(drop).map_err(|_gone| nobody_minds_the_gate())?;
                    continue;
                }
                written = self.io.write(bytes) => written?,
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }
}

impl Push for Upward {
    /// As with [`Sink::put`].
    async fn push(&mut self, pipe: &mut Pipe) -> io::Result<()> {
        while !pipe.is_empty() {
            opened(&mut self.gate).await?;
            let moved = tokio::select! {
                biased;
                shut = self.gate.wait_for(|open| !open) => {
                    shut.map(drop).map_err(|_gone| nobody_minds_the_gate())?;
                    continue;
                }
                moved = push_some(&self.io.io, pipe) => moved?,
            };
            self.io.open.0.add_up(moved as u64);
        }
        Ok(())
    }
}

impl Pull for Metered<OwnedReadHalf> {
    fn pull(&mut self, pipe: &mut Pipe) -> io::Result<usize> {
        let moved = self.io.pull(pipe)?;
        self.open.0.add_down(moved as u64);
        Ok(moved)
    }

    async fn ready(&mut self) -> io::Result<()> {
        Pull::ready(&mut self.io).await
    }
}

/// Waits until the gate is open.
pub(super) async fn opened(gate: &mut watch::Receiver<bool>) -> io::Result<()> {
    gate.wait_for(|open| *open)
        .await
        .map(drop)
        .map_err(|_gone| nobody_minds_the_gate())
}

fn nobody_minds_the_gate() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the supervisor is gone")
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.open.0.add_down((buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.open.0.add_up(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
