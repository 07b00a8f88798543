//! The ways from the client to the server, and what is sent along each.

use std::{io, mem, net::SocketAddr, os::fd::OwnedFd};

use anyhow::{Context, bail};
use futures::future::{join_all, try_join_all};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use super::{Found, Software, Way, cpu_time, own_memory};
use crate::{
    cli::bench::{
        browser::{Namespace, connect},
        stats::whole,
    },
    netns,
};

/// Connections at once.
const MANY: usize = 64;
/// New connections per round, one after the other; and by each of many clients.
const NEW: usize = 50;
const NEW_EACH: usize = 10;
/// Tunnels that stand idle while memory is looked at: fewer than one session may have.
const IDLE: usize = 500;
const READ: usize = 256 << 10;
const MAX_HEAD: usize = 4096;

/// From where the clients stand to the server.
pub(super) struct Road<'a> {
    pub(super) origin: SocketAddr,
    pub(super) namespace: &'a Namespace,
}

impl Road<'_> {
    /// All stages once, along a way and past the process that is in it.
    pub(super) async fn round(
        &self,
        (way, pid): (Way, Option<u32>),
        mib: u32,
        found: &mut Found,
    ) -> anyhow::Result<()> {
        let [one, many, new, at_once, per_gib, per_new, per_new_at_once] = found;
        let mut cpu = Cpu::of(pid)?;
        let total = usize::try_from(mib)? << 20;
        for (connections, samples, cost) in [(1, one, Some(per_gib)), (MANY, many, None)] {
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
            let spent = cpu.spent()?;
            if let Some(cost) = cost {
                cost.extend(spent.map(|spent| spent * 1e3 * 1024.0 / carried));
            }
        }
        for socket in self.sockets(way, NEW).await? {
            let began = Instant::now();
            let stream = self.open(way, socket).await?;
            self.fetch(stream, way, 1).await?;
            new.push(began.elapsed().as_secs_f64() * 1e6);
        }
        per_new.extend(cpu.spent()?.map(|spent| spent * 1e6 / whole(NEW)));
        let mut sockets = self.sockets(way, MANY * NEW_EACH).await?;
        let clients: Vec<_> = (0..MANY)
            .map(|_client| sockets.split_off(sockets.len() - NEW_EACH))
            .collect();
        let began = Instant::now();
        try_join_all(clients.into_iter().map(|own| self.client(way, own))).await?;
        at_once.push(whole(MANY * NEW_EACH) / began.elapsed().as_secs_f64());
        per_new_at_once.extend(
            cpu.spent()?
                .map(|spent| spent * 1e6 / whole(MANY * NEW_EACH)),
        );
        Ok(())
    }

    /// One client of many: a connection after the other.
    async fn client(&self, way: Way, sockets: Vec<OwnedFd>) -> anyhow::Result<()> {
        for socket in sockets {
            let stream = self.open(way, socket).await?;
            self.fetch(stream, way, 1).await?;
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
        let origin = self.origin;
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
    pub(super) async fn idle(&self, way: Way, pid: u32) -> anyhow::Result<f64> {
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
        let origin = self.origin;
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

/// What the process in the way takes of the cores.
struct Cpu {
    pid: Option<u32>,
    last: f64,
}

impl Cpu {
    fn of(pid: Option<u32>) -> anyhow::Result<Self> {
        let mut cpu = Self { pid, last: 0.0 };
        cpu.spent()?;
        Ok(cpu)
    }

    /// Seconds since the last time that this was asked; nothing where there is no process.
    fn spent(&mut self) -> anyhow::Result<Option<f64>> {
        let now = self.pid.map(cpu_time).transpose()?;
        Ok(now.map(|now| now - mem::replace(&mut self.last, now)))
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
