//! The egress proxy next to none, and next to others: the same server, through a session's proxy, through
//! those that are named by `--peer`, and directly.
//!
//! The client stands where the browser stands: its sockets to the proxy are made inside the
//! session's namespace. The direct connections are made outside, where the server is. All of them are
//! on the same machine, and a proxied byte crosses loopback twice: half the direct throughput is
//! what the fastest proxy could reach where processors are scarce.
//!
//! | stage | what is done |
//! |---|---|
//! | bulk, 1 connection | one answer of many mebibytes |
//! | bulk, 64 connections | the same amount in 64 answers at once |
//! | new connection | dialled, one byte answered, closed; one after the other |
//! | idle tunnel | memory of the proxy's own for each of many that stand and say nothing |

mod peers;

use std::{fs, io, net::SocketAddr, os::fd::OwnedFd};

use anyhow::{Context, bail};
use futures::future::join_all;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use self::peers::{Peer, Software};
use super::{
    Common, Ground,
    browser::{Namespace, connect},
    progress,
    report::{Report, Row, Unit},
    stats::{Samples, whole},
};
use crate::netns;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Rounds: in each all ways carry everything once
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// MiB per bulk transfer
    #[arg(long, value_name = "MIB", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    mib: u32,
    /// Other proxies of this machine to measure as well
    #[arg(long = "peer", value_enum, value_delimiter = ',')]
    peers: Vec<Software>,
    #[command(flatten)]
    pub(super) common: Common,
}

const STAGES: [(&str, Unit); 3] = [
    ("bulk, 1 connection", Unit::MebibytesPerSecond),
    ("bulk, 64 connections", Unit::MebibytesPerSecond),
    ("new connection", Unit::Micros),
];
const MANY: usize = 64;
/// New connections per round.
const NEW: usize = 50;
const READ: usize = 256 << 10;
const MAX_HEAD: usize = 4096;

/// How the server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Connect,
    Plain,
    Peer(Software, SocketAddr),
}

/// Tunnels that stand idle while memory is looked at: fewer than one session may have.
const IDLE: usize = 500;

struct Road<'a> {
    ground: &'a Ground,
    namespace: &'a Namespace,
}

pub(super) async fn measure(args: &Args, ground: &Ground) -> anyhow::Result<Report> {
    let mut report = Report::new("egress", ground.machine.clone());
    let daemon = ground.daemon(1, 0).await?;
    let session = daemon.create().await?;
    let (_pid, namespace) = daemon.inside(&session).await?;
    let road = Road {
        ground,
        namespace: &namespace,
    };
    let mut peers = Vec::new();
    for software in &args.peers {
        peers.push(Peer::start(*software, ground.origin).await?);
    }
    let mut ways = vec![Way::Direct, Way::Connect, Way::Plain];
    ways.extend(
        peers
            .iter()
            .map(|peer| Way::Peer(peer.software, peer.address)),
    );
    let mut found: Vec<[Samples; 3]> = ways.iter().map(|_way| Default::default()).collect();
    for number in 0..args.rounds {
        progress(format_args!("round {} of {}", number + 1, args.rounds));
        for turn in 0..ways.len() {
            // Who goes first changes.
            let which = (turn + usize::try_from(number)?) % ways.len();
            road.round(ways[which], args.mib, &mut found[which]).await?;
        }
    }
    for (index, (stage, unit)) in STAGES.into_iter().enumerate() {
        let base = found[0][index].summary();
        for (way, found) in ways.iter().zip(&found) {
            let summary = found[index].summary();
            let ratio = (*way != Way::Direct).then(|| summary.ratio_to(&base));
            report.rows.push(Row {
                subject: way.as_str().to_owned(),
                stage,
                unit,
                summary,
                ratio: ratio.flatten(),
            });
        }
    }
    let [_agent, relay] = daemon.pids().await?;
    let pids = std::iter::once(relay).chain(peers.iter().map(Peer::pid));
    for (way, pid) in ways.iter().filter(|way| way.is_tunnel()).zip(pids) {
        let mut memory = Samples::default();
        memory.push(road.idle(*way, pid).await?);
        let summary = memory.summary();
        report.row(way.as_str(), "idle tunnel", Unit::Kibibytes, summary);
    }
    daemon.delete(&session).await?;
    Ok(report)
}

/// Memory that is a process's own, KiB.
fn own_memory(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let count = line.and_then(|line| line.split_ascii_whitespace().next());
    Ok(count.context("no RssAnon")?.parse()?)
}

impl Way {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Connect => "CONNECT",
            Self::Plain => "plain HTTP",
            Self::Peer(software, _) => software.as_str(),
        }
    }

    /// Whether it is asked for tunnels, and tells what one costs.
    const fn is_tunnel(self) -> bool {
        match self {
            Self::Connect | Self::Peer(..) => true,
            Self::Direct | Self::Plain => false,
        }
    }
}

impl Road<'_> {
    async fn round(&self, way: Way, mib: u32, found: &mut [Samples; 3]) -> anyhow::Result<()> {
        let [one, many, new] = found;
        let total = usize::try_from(mib)? << 20;
        for (connections, samples) in [(1, one), (MANY, many)] {
            let sockets = self.sockets(way, connections).await?;
            let opened = join_all(sockets.into_iter().map(|socket| self.open(way, socket))).await;
            let opened: Vec<TcpStream> = opened.into_iter().collect::<anyhow::Result<_>>()?;
            let began = Instant::now();
            let each = total / connections;
            let fetches = opened
                .into_iter()
                .map(|stream| self.fetch(stream, way, each));
            for fetched in join_all(fetches).await {
                fetched?;
            }
            let carried = whole(each * connections) / f64::from(1 << 20);
            samples.push(carried / began.elapsed().as_secs_f64());
        }
        for socket in self.sockets(way, NEW).await? {
            let began = Instant::now();
            let stream = self.open(way, socket).await?;
            self.fetch(stream, way, 1).await?;
            new.push(began.elapsed().as_secs_f64() * 1e6);
        }
        Ok(())
    }

    /// Where the client stands. Entering a namespace costs a thread, which is not the proxy's.
    async fn sockets(&self, way: Way, count: usize) -> anyhow::Result<Vec<OwnedFd>> {
        match way {
            Way::Direct | Way::Peer(..) => {
                let make = || Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None);
                let made = (0..count).map(|_| make().map(OwnedFd::from));
                Ok(made.collect::<io::Result<_>>()?)
            }
            Way::Connect | Way::Plain => self.namespace.sockets(count).await,
        }
    }

    /// A connection on which the server can be asked.
    async fn open(&self, way: Way, socket: OwnedFd) -> anyhow::Result<TcpStream> {
        let origin = self.ground.origin;
        match way {
            Way::Direct => connect(socket, origin).await,
            Way::Plain => connect(socket, netns::EGRESS.into()).await,
            Way::Peer(Software::Haproxy, proxy) => connect(socket, proxy).await,
            Way::Connect | Way::Peer(..) => {
                let proxy = match way {
                    Way::Peer(_, proxy) => proxy,
                    Way::Direct | Way::Connect | Way::Plain => netns::EGRESS.into(),
                };
                let mut stream = connect(socket, proxy).await?;
                let asked = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n");
                stream.write_all(asked.as_bytes()).await?;
                let beyond = head(&mut stream).await?;
                if beyond > 0 {
                    bail!("the proxy spoke before it was asked");
                }
                Ok(stream)
            }
        }
    }

    /// KiB of the proxy's own memory for each of many tunnels that were used once and stand idle.
    async fn idle(&self, way: Way, pid: u32) -> anyhow::Result<f64> {
        let sockets = self.sockets(way, IDLE).await?;
        let before = own_memory(pid)?;
        let mut open = Vec::with_capacity(IDLE);
        for socket in sockets {
            let mut stream = self.open(way, socket).await?;
            self.ask(&mut stream, way, 1).await?;
            open.push(stream);
        }
        let more = own_memory(pid)? - before;
        drop(open);
        Ok(more / whole(IDLE))
    }

    async fn fetch(&self, mut stream: TcpStream, way: Way, bytes: usize) -> anyhow::Result<()> {
        self.ask(&mut stream, way, bytes).await
    }

    async fn ask(&self, stream: &mut TcpStream, way: Way, bytes: usize) -> anyhow::Result<()> {
        let origin = self.ground.origin;
        let target = match way {
            Way::Direct | Way::Connect | Way::Peer(..) => format!("/bytes/{bytes}"),
            Way::Plain => format!("http://{origin}/bytes/{bytes}"),
        };
        let asked = format!("GET {target} HTTP/1.1\r\nHost: {origin}\r\n\r\n");
        stream.write_all(asked.as_bytes()).await?;
        let mut have = head(stream).await?;
        let mut buffer = vec![0; READ.min(bytes)];
        while have < bytes {
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                bail!(
                    "{}: the answer ended after {have} of {bytes} bytes",
                    way.as_str()
                );
            }
            have += read;
        }
        Ok(())
    }
}

/// Reads the head of a good answer; how many bytes of its body came with it.
async fn head(stream: &mut TcpStream) -> anyhow::Result<usize> {
    let mut buffer = Vec::with_capacity(MAX_HEAD);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 || buffer.len() > 1 << 20 {
            bail!("no answer");
        }
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let line = buffer
                .split(|byte| *byte == b'\r')
                .next()
                .unwrap_or_default();
            let line = std::str::from_utf8(line).context("no status line")?;
            if line.split(' ').nth(1) != Some("200") {
                bail!("the answer is {line}");
            }
            return Ok(buffer.len() - end - 4);
        }
    }
}
