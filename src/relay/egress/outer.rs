//! The outer leg: the connections that the relay opens on a session's behalf, metered as bytes
//! move, and held upward while the gate is shut.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Socket, TcpKeepalive, Type};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::watch,
    time::timeout,
};

use super::{
    leg::{self, Down, Inside, Metered, Upward},
    refusal::{Reason, Refusal},
    source::Source,
};
use crate::relay::{Way, meter::Meter};

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
    pub(super) down: Source<Down>,
    pub(super) up: Upward,
}

impl Outer {
    /// Connects to the first of `addresses` that answers, the way of the route.
    pub(super) async fn dial(
        addresses: &[SocketAddr],
        way: &Way,
        meter: &Arc<Meter>,
        gate: watch::Receiver<bool>,
    ) -> Result<(Self, SocketAddr), Refusal> {
        let (stream, address) = connect(addresses, way).await?;
        let outer = Self::bare(Metered::new(stream, meter), gate);
        Ok((outer, address))
    }

    /// A connection that was made.
    pub(super) fn bare(stream: Metered<TcpStream>, gate: watch::Receiver<bool>) -> Self {
        let (down, up) = leg::bare(stream, gate);
        Self {
            down: Source::new(down),
            up,
        }
    }

    /// A connection inside TLS.
    pub(super) fn inside(stream: Inside, gate: watch::Receiver<bool>) -> Self {
        let (down, up) = leg::inside(stream, gate);
        Self {
            down: Source::new(down),
            up,
        }
    }

    /// Ends with a reset: the origin shall not take it for a proper end.
    pub(super) fn reset(self) {
        leg::reset(self.down.into_inner(), self.up);
    }
}

/// A connection to the first of `addresses` that answers, the way of the route.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    way: &Way,
) -> Result<(TcpStream, SocketAddr), Refusal> {
    let mut last = Refusal::new(Reason::ConnectFailed, "no address to try");
    for address in addresses.iter().take(MAX_ADDRESSES) {
        let socket = socket(*address, way)?;
        last = match timeout(CONNECT_TIMEOUT, socket.connect(*address)).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(error)) => Refusal::new(Reason::ConnectFailed, error.kind().to_string()),
            Err(_elapsed) => Refusal::new(Reason::ConnectTimeout, "no answer"),
        };
    }
    Err(last)
}

/// A socket that will leave from the route's address, through its interface.
fn socket(to: SocketAddr, way: &Way) -> Result<TcpSocket, Refusal> {
    let broken = |error: io::Error| Refusal::new(Reason::ConnectFailed, error.kind().to_string());
    let unusable = |what: &str, error: &io::Error| {
        let detail = format!("the egress {what} cannot be bound: {}", error.kind());
        Refusal::new(Reason::NoRoute, detail)
    };
    let socket =
        Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), None).map_err(broken)?;
    socket.set_tcp_nodelay(true).map_err(broken)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_BETWEEN)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive).map_err(broken)?;
    if !way.interface.is_empty() {
        // Nobody needs a privilege to bind a socket that is not bound yet (Linux 5.7).
        socket
            .bind_device(Some(way.interface.as_bytes()))
            .map_err(|error| unusable("interface", &error))?;
    }
    if let Some(source) = way.source {
        // The port is chosen at connect, by the whole four-tuple: one address serves many more
        // connections than it has ports.
        setsockopt(&socket, IpBindAddressNoPort, &true).map_err(|errno| broken(errno.into()))?;
        let from = SocketAddr::new(source, 0);
        socket
            .bind(&from.into())
            .map_err(|error| unusable("address", &error))?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}
