//! Every packet on every interface of a network namespace, as its kernel shows them to whoever listens.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    thread,
};

use nix::{
    net::if_::if_indextoname,
    sys::{
        socket::{
            AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt,
            socket, sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
};
use parking_lot::Mutex;

use super::lab::within;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86DD;
/// Where the flags of a TCP header are, and which of them is SYN, which ACK.
const FLAGS: usize = 13;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// One packet. Ports are 0 where its protocol has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub link: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Kernels that ask each other for hardware addresses, and for routers.
    Neighbours,
    Ip {
        protocol: u8,
        from: SocketAddr,
        to: SocketAddr,
        /// It asks for a TCP connection.
        opens: bool,
    },
    Unknown(u16),
}

/// Listens until it is dropped.
pub struct Wire {
    seen: Arc<Mutex<Vec<Packet>>>,
    running: Arc<()>,
}

impl Wire {
    pub fn of(namespace: &str) -> Self {
        let listener = within(namespace, listen);
        let wire = Self {
            seen: Arc::default(),
            running: Arc::new(()),
        };
        let (seen, running) = (Arc::clone(&wire.seen), Arc::downgrade(&wire.running));
        let namespace = namespace.to_owned();
        // Names of interfaces are those of the namespace that is asked: the thread lives there.
        thread::spawn(move || {
            within(&namespace, move || {
                let mut bytes = vec![0; 1 << 16];
                while running.strong_count() > 0 {
                    // Nothing for a moment: perhaps nobody listens any more.
                    let Ok((len, Some(from))) =
                        recvfrom::<LinkAddr>(listener.as_raw_fd(), &mut bytes)
                    else {
                        continue;
                    };
                    let packet = packet(&from, &bytes[..len]);
                    seen.lock().push(packet);
                }
            });
        });
        wire
    }

    pub fn packets(&self) -> Vec<Packet> {
        self.seen.lock().clone()
    }

    /// What is not allowed, each kind once with how often.
    pub fn but(&self, allowed: impl Fn(&Packet) -> bool) -> Vec<String> {
        let mut found = std::collections::BTreeMap::<String, usize>::new();
        for packet in self.seen.lock().iter().filter(|packet| !allowed(packet)) {
            *found.entry(packet.to_string()).or_default() += 1;
        }
        found
            .into_iter()
            .map(|(packet, times)| format!("{packet} ({times} times)"))
            .collect()
    }
}

impl Packet {
    /// Whether it belongs to a conversation over `protocol` between the two, either way.
    pub fn is_between(&self, protocol: u8, a: impl Fn(SocketAddr) -> bool, b: SocketAddr) -> bool {
        let Kind::Ip {
            protocol: own,
            from,
            to,
            ..
        } = self.kind
        else {
            return false;
        };
        own == protocol && ((a(from) && to == b) || (a(to) && from == b))
    }

    pub fn is_tcp_between(&self, a: impl Fn(SocketAddr) -> bool, b: SocketAddr) -> bool {
        self.is_between(TCP, a, b)
    }

    pub fn is_udp_between(&self, a: impl Fn(SocketAddr) -> bool, b: SocketAddr) -> bool {
        self.is_between(UDP, a, b)
    }

    /// Whether it asks `to` for a TCP connection.
    pub fn opens(&self, server: SocketAddr) -> bool {
        matches!(self.kind, Kind::Ip { to, opens: true, .. } if to == server)
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.link)?;
        match &self.kind {
            Kind::Neighbours => write!(f, "neighbour discovery"),
            // Ports of whoever asks are any: the same conversation is one line.
            Kind::Ip {
                protocol, from, to, ..
            } => {
                write!(f, "protocol {protocol}, {} to {to}", from.ip())
            }
            Kind::Unknown(kind) => write!(f, "ethertype {kind:#06x}"),
        }
    }
}

fn listen() -> OwnedFd {
    let listener = socket(
        AddressFamily::Packet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )
    .unwrap();
    setsockopt(&listener, sockopt::RcvBufForce, &(64 << 20)).unwrap();
    let moment = TimeVal::microseconds(200_000);
    setsockopt(&listener, sockopt::ReceiveTimeout, &moment).unwrap();
    listener
}

fn packet(from: &LinkAddr, bytes: &[u8]) -> Packet {
    let index = u32::try_from(from.ifindex()).unwrap();
    let link = if_indextoname(index).map_or_else(
        |_gone| format!("interface {index}"),
        |name| name.to_string_lossy().into_owned(),
    );
    let kind = kind(u16::from_be(from.protocol()), bytes);
    Packet { link, kind }
}

fn kind(ethertype: u16, bytes: &[u8]) -> Kind {
    let parsed = match ethertype {
        ARP => return Kind::Neighbours,
        IPV4 => v4(bytes),
        IPV6 => v6(bytes),
        _ => None,
    };
    let Some((protocol, from, to, rest)) = parsed else {
        return Kind::Unknown(ethertype);
    };
    // Listener reports (130 to 132, 143), routers and neighbours (133 to 137).
    let discovery = matches!(rest.first(), Some(130..=137 | 143));
    if protocol == ICMPV6 && discovery {
        return Kind::Neighbours;
    }
    let port = |at: usize| match (protocol, rest.get(at..at + 2)) {
        (TCP | UDP, Some(bytes)) => u16::from_be_bytes([bytes[0], bytes[1]]),
        _ => 0,
    };
    let flags = rest.get(FLAGS).copied().unwrap_or(0);
    Kind::Ip {
        protocol,
        from: SocketAddr::new(from, port(0)),
        to: SocketAddr::new(to, port(2)),
        opens: protocol == TCP && flags & (SYN | ACK) == SYN,
    }
}

type Parsed<'a> = Option<(u8, IpAddr, IpAddr, &'a [u8])>;

fn v4(bytes: &[u8]) -> Parsed<'_> {
    let header = usize::from(bytes.first()? & 0x0F) * 4;
    let address = |at: usize| {
        let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::from(Ipv4Addr::from(four)))
    };
    Some((
        *bytes.get(9)?,
        address(12)?,
        address(16)?,
        bytes.get(header..)?,
    ))
}

fn v6(bytes: &[u8]) -> Parsed<'_> {
    let address = |at: usize| {
        let sixteen: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::from(Ipv6Addr::from(sixteen)))
    };
    let (from, to, rest) = (address(8)?, address(24)?, bytes.get(40..)?);
    match bytes.get(6)? {
        // One header of options before what it is about, as listener reports have.
        0 => {
            let len = (usize::from(*rest.get(1)?) + 1) * 8;
            Some((*rest.first()?, from, to, rest.get(len..)?))
        }
        protocol => Some((*protocol, from, to, rest)),
    }
}
