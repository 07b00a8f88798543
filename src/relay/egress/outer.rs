//! The outer leg: the connections that the relay opens on a session's behalf, metered as bytes
//! move, and held upward while the gate is shut.

use std::{io, net::SocketAddr, time::Duration};

use futures::stream::{FuturesUnordered, StreamExt};
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Socket, TcpKeepalive, Type};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    account::Account,
    leg::{self, Down, Inside, Metered, Upward},
    refusal::{Reason, Refusal},
    source::Source,
};
use crate::relay::Way;

/// One address may take this long to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// … and has this long before the next is tried beside it (RFC 8305 section 8).
const HEAD_START: Duration = Duration::from_millis(250);
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
        account: Account,
        gate: watch::Receiver<bool>,
    ) -> Result<(Self, SocketAddr), Refusal> {
        let (stream, address) = connect(addresses, way).await?;
        let outer = Self::bare(Metered::new(stream, account), gate);
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

    /// Ends where both ways have ended.
    pub(super) fn ended(self) {
        leg::ended(self.up);
    }

    /// Ends with a reset: the origin shall not take it for a proper end.
    pub(super) fn reset(self) {
        leg::reset(self.down.into_inner(), self.up);
    }
}

/// A connection to the first of `addresses` that answers, the way of the route (RFC 8305): the next is
/// tried once one has failed, or has not answered for a moment, and the first answer wins.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    way: &Way,
) -> Result<(TcpStream, SocketAddr), Refusal> {
    if let [only] = addresses {
        return attempt(*only, way).await;
    }
    let mut last = Refusal::new(Reason::ConnectFailed, "no address to try");
    let mut left = by_turns(addresses).into_iter().take(MAX_ADDRESSES);
    let mut racing = FuturesUnordered::new();
    loop {
        match left.next() {
            Some(address) => racing.push(attempt(address, way)),
            None if racing.is_empty() => return Err(last),
            None => {}
        }
        tokio::select! {
            Some(outcome) = racing.next() => match outcome {
                Ok(won) => return Ok(won),
                Err(refusal) => last = refusal,
            },
            () = sleep(HEAD_START), if left.len() > 0 => {}
        }
    }
}

async fn attempt(address: SocketAddr, way: &Way) -> Result<(TcpStream, SocketAddr), Refusal> {
    let socket = socket(address, way)?;
    match timeout(CONNECT_TIMEOUT, socket.connect(address)).await {
        Ok(Ok(stream)) => Ok((stream, address)),
        Ok(Err(error)) => Err(Refusal::new(
            Reason::ConnectFailed,
            error.kind().to_string(),
        )),
        Err(_elapsed) => Err(Refusal::new(Reason::ConnectTimeout, "no answer")),
    }
}

/// The families by turns, IPv6 first, each in its own order.
fn by_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.iter().partition(|address| address.is_ipv6());
    let most = six.len().max(four.len());
    let turn = |at: usize| [six.get(at).copied(), four.get(at).copied()];
    (0..most).flat_map(turn).flatten().collect()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn families_take_turns_and_nobody_is_lost(six in 0_u16..8, four in 0_u16..8) {
            let v6 = |port| SocketAddr::from(([0_u16; 8], port));
            let v4 = |port| SocketAddr::from(([0_u8; 4], port));
            let given: Vec<_> = (0..four).map(v4).chain((0..six).map(v6)).collect();
            let turns = by_turns(&given);
            let of = |all: &[SocketAddr], six| {
                let family = all.iter().filter(|one| one.is_ipv6() == six);
                family.copied().collect::<Vec<_>>()
            };
            for family in [true, false] {
                prop_assert_eq!(of(&turns, family), of(&given, family), "each in its own order");
            }
            let both = usize::from(six.min(four));
            for pair in turns.chunks(2).take(both) {
                prop_assert!(pair[0].is_ipv6() && pair[1].is_ipv4());
            }
        }
    }

    /// A listener that answers nobody: its queue is full.
    fn silent() -> (Socket, Vec<Socket>, SocketAddr) {
        let tcp = || Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
        let listener = tcp();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let queued = (0..3).map(|_| {
            let one = tcp();
            // It is under way, which is no error here.
            drop(one.connect(&address));
            one
        });
        let queued = queued.collect();
        (listener, queued, address.as_socket().unwrap())
    }

    #[tokio::test]
    async fn an_address_that_is_silent_holds_nobody_up() {
        let (_listener, _queued, silent) = silent();
        let good = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = good.local_addr().unwrap();
        let began = tokio::time::Instant::now();
        let (_stream, won) = connect(&[silent, good], &Way::default()).await.unwrap();
        assert_eq!(won, good);
        // By waiting for the first to give up it would have been that.
        assert!(began.elapsed() < CONNECT_TIMEOUT, "{:?}", began.elapsed());
    }
}
