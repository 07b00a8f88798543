//! The proxy over loopback, against origins that count.

mod gate;
mod limits;
mod names;
mod plain;
mod refused;
mod room;
mod slow;
mod smuggling;
mod socks;
mod tunnels;
mod upstream;

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::*;
use crate::model::Traffic;

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn bounded<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("done in time")
}

/// Straight, from this address.
fn from(source: IpAddr) -> Way {
    Way {
        source: Some(source),
        ..Way::default()
    }
}

/// A proxy that may reach loopback, with everything that it needs.
struct Bench {
    egress: Egress,
    meter: Arc<Meter>,
    gate: watch::Sender<bool>,
    fence: watch::Sender<bool>,
    policy: watch::Sender<Arc<Policy>>,
    proxy: SocketAddr,
    tasks: Tasks,
}

impl Bench {
    async fn new() -> Self {
        let bench = Self::with_nameservers(&["127.0.0.1:9".parse().unwrap()]).await;
        bench.allow(&["127.0.0.0/8"]);
        bench
    }

    /// Nothing is allowed that is not by default.
    async fn with_nameservers(nameservers: &[SocketAddr]) -> Self {
        let tasks = Tasks::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let meter = Arc::new(Meter::detached());
        let (gate, gated) = watch::channel(true);
        let (fence, fenced) = watch::channel(true);
        let (policy, policies) = watch::channel(Arc::default());
        let setup = Setup {
            instance: InstanceId::random(),
            meter: Arc::clone(&meter),
            gate: gated,
            fence: fenced,
            policy: policies,
            resolver: Arc::new(Resolver::new(nameservers).unwrap()),
            top_hosts: watch::channel(2).1,
        };
        let listener = OwnedFd::from(listener.into_std().unwrap());
        let egress = Egress::start(listener, setup, &tasks).unwrap();
        egress.set_way(Some(Way::default()));
        Self {
            egress,
            meter,
            gate,
            fence,
            policy,
            proxy,
            tasks,
        }
    }

    fn allow(&self, networks: &[&str]) {
        let networks = networks.iter().map(|net| net.parse().unwrap()).collect();
        self.policy.send_replace(Arc::new(Policy::new(networks)));
    }

    async fn connect(&self) -> Peer {
        Peer::new(
            TcpStream::connect(self.proxy).await.unwrap(),
            Arc::default(),
        )
    }

    /// A connection of the browser with a tunnel through it.
    async fn tunnel(&self, to: SocketAddr) -> Peer {
        let mut client = self.connect().await;
        client
            .send(&format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"))
            .await;
        let head = client.head().await;
        assert_eq!(head, "HTTP/1.1 200 Connection established\r\n\r\n");
        client
    }

    /// All that a request hears that must be refused, and the reason: one, and counted once.
    async fn refusal(&self, request: &str) -> (String, Reason) {
        let counts = || -> Vec<_> { self.egress.refusals().iter().collect() };
        let before = counts();
        let mut client = self.connect().await;
        client.send(request).await;
        let heard = String::from_utf8(client.rest().await.unwrap()).unwrap();
        let more = before.into_iter().zip(counts());
        let mut more = more.filter(|((_, was), (_, is))| was != is);
        let ((reason, was), (_, is)) = more.next().expect("a refusal is counted");
        assert_eq!((is, more.next()), (was + 1, None), "{request}");
        (heard, reason)
    }

    /// A plain request, or what is none, is refused for this reason and hears nothing of it.
    async fn refuses_unheard(&self, request: &str, reason: Reason) {
        let (heard, found) = self.refusal(request).await;
        assert_eq!((&*heard, found), ("", reason), "{request}");
    }

    /// The same once an origin was asked: no browser may ask it again.
    async fn refuses_for_good(&self, request: &str, reason: Reason) {
        let (heard, found) = self.refusal(request).await;
        assert_eq!(heard.as_bytes(), refusal::last_words(true), "{request}");
        assert_eq!(found, reason, "{request}");
    }

    /// An origin that serves each connection with `serve`.
    async fn origin<F, Fut>(&self, serve: F) -> Origin
    where
        F: Fn(Peer) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Origin {
            address: listener.local_addr().unwrap(),
            counts: Arc::default(),
        };
        let (counts, tasks) = (Arc::clone(&origin.counts), self.tasks.clone());
        self.tasks.spawn("origin", |_stop| async move {
            while let Ok((stream, from)) = listener.accept().await {
                counts.connections.fetch_add(1, Ordering::SeqCst);
                *counts.last_from.lock() = Some(from.ip());
                let served = serve(Peer::new(stream, Arc::clone(&counts)));
                tasks.spawn("origin connection", |_stop| served);
            }
        });
        origin
    }

    /// Waits until the meter says what the origin counted.
    async fn agrees_with(&self, origin: &Origin) {
        bounded(async {
            while self.meter.traffic() != origin.traffic() {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        // And stays so.
        sleep(Duration::from_millis(50)).await;
        assert_eq!(self.meter.traffic(), origin.traffic());
        let hosts = self.egress.top_hosts();
        let sum = |of: fn(&HostTraffic) -> u64| hosts.iter().map(of).sum::<u64>();
        let by_host = (sum(|host| host.up), sum(|host| host.down));
        let metered = self.meter.traffic();
        assert_eq!(by_host, (metered.up, metered.down), "and so it is by host");
    }
}

struct Origin {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    received: AtomicU64,
    sent: AtomicU64,
    connections: AtomicU64,
    last_from: parking_lot::Mutex<Option<IpAddr>>,
}

impl Origin {
    /// What the meter should say.
    fn traffic(&self) -> Traffic {
        Traffic {
            up: self.counts.received.load(Ordering::SeqCst),
            down: self.counts.sent.load(Ordering::SeqCst),
            connections: self.connections(),
            ..Traffic::default()
        }
    }

    fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    fn last_from(&self) -> Option<IpAddr> {
        *self.counts.last_from.lock()
    }

    /// `GET http://…` with a header field of the proxy's hop.
    fn get(&self, path: &str) -> String {
        let to = self.address;
        format!(
            "GET http://{to}{path} HTTP/1.1\r\nHost: {to}\r\nProxy-Connection: keep-alive\r\n\r\n"
        )
    }
}

/// One end of a connection, counting.
struct Peer {
    stream: TcpStream,
    counts: Arc<Counts>,
}

impl Peer {
    fn new(stream: TcpStream, counts: Arc<Counts>) -> Self {
        Self { stream, counts }
    }

    async fn send(&mut self, text: impl AsRef<[u8]>) {
        let bytes = text.as_ref();
        self.stream.write_all(bytes).await.unwrap();
        self.counts
            .sent
            .fetch_add(bytes.len() as u64, Ordering::SeqCst);
    }

    /// Exactly so many bytes.
    async fn exactly(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        bounded(self.stream.read_exact(&mut bytes)).await.unwrap();
        self.counts
            .received
            .fetch_add(length as u64, Ordering::SeqCst);
        String::from_utf8(bytes).unwrap()
    }

    /// As far as the empty line; what is not there is not waited for.
    async fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head += &self.exactly(1).await;
        }
        head
    }

    /// Everything until the other end finishes.
    async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = bounded(self.stream.read_to_end(&mut bytes)).await;
        self.counts
            .received
            .fetch_add(bytes.len() as u64, Ordering::SeqCst);
        read.map(|_| bytes)
    }

    async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers every request without a body.
async fn answering(mut peer: Peer) {
    let mut byte = [0; 1];
    while let Ok(1) = peer.stream.peek(&mut byte).await {
        peer.head().await;
        peer.send(OK).await;
    }
}
