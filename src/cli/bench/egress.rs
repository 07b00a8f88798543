//! The egress proxy next to none: the same server, once through a session's proxy and once directly.
//!
//! The client stands where the browser stands: its sockets to the proxy are made inside the
//! session's namespace. The direct connections are made outside, where the server is. All three are
//! on the same machine, and a proxied byte crosses loopback twice: half the direct throughput is
//! what the fastest proxy could reach where processors are scarce.
//!
//! | stage | what is done |
//! |---|---|
//! | bulk, 1 connection | one answer of many mebibytes |
//! | bulk, 64 connections | the same amount in 64 answers at once |
//! | new connection | dialled, one byte answered, closed; one after the other |

use std::{io, os::fd::OwnedFd};

use anyhow::{Context, bail};
use futures::future::join_all;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

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
}

const WAYS: [Way; 3] = [Way::Direct, Way::Connect, Way::Plain];

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
    let mut found: [[Samples; 3]; 3] = Default::default();
    for number in 0..args.rounds {
        progress(format_args!("round {} of {}", number + 1, args.rounds));
        for turn in 0..WAYS.len() {
            // Who goes first changes.
            let which = (turn + usize::try_from(number)?) % WAYS.len();
            road.round(WAYS[which], args.mib, &mut found[which]).await?;
        }
    }
    daemon.delete(&session).await?;
    for (index, (stage, unit)) in STAGES.into_iter().enumerate() {
        let base = found[0][index].summary();
        for (way, found) in WAYS.into_iter().zip(&found) {
            let summary = found[index].summary();
            let ratio = (way != Way::Direct).then(|| summary.ratio_to(&base));
            report.rows.push(Row {
                subject: way.as_str().to_owned(),
                stage,
                unit,
                summary,
                ratio: ratio.flatten(),
            });
        }
    }
    Ok(report)
}

impl Way {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Connect => "CONNECT",
            Self::Plain => "plain HTTP",
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
            Way::Direct => {
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
            Way::Connect => {
                let mut stream = connect(socket, netns::EGRESS.into()).await?;
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

    async fn fetch(&self, mut stream: TcpStream, way: Way, bytes: usize) -> anyhow::Result<()> {
        let origin = self.ground.origin;
        let target = match way {
            Way::Direct | Way::Connect => format!("/bytes/{bytes}"),
            Way::Plain => format!("http://{origin}/bytes/{bytes}"),
        };
        let asked = format!("GET {target} HTTP/1.1\r\nHost: {origin}\r\n\r\n");
        stream.write_all(asked.as_bytes()).await?;
        let mut have = head(&mut stream).await?;
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
