//! A web server that knows exactly what it received and from whom.
//!
//! HTTP on port 80, HTTPS on 443 and HTTP/2 on 8443 of the lab's origin address. Every connection is counted at the
//! socket, below TLS, in both directions; every request is kept with its peer and headers.

mod answers;
mod certificate;
mod counted;
mod published;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
};

use chaser::runtime::Tasks;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use self::counted::{Books, Counted};
use self::published::Published;
pub use self::{
    certificate::{acceptor, authority, authority_pem, leaf_pem},
    published::Page,
};
use super::Lab;

/// What a meter must show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    pub up: u64,
    pub down: u64,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub peer: IpAddr,
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

#[derive(Clone)]
pub struct Origin {
    ip: IpAddr,
    records: Arc<Records>,
}

#[derive(Default)]
struct Records {
    connections: Mutex<Vec<Arc<Books>>>,
    requests: Mutex<Vec<Seen>>,
    published: Published,
}

impl Origin {
    pub fn start(lab: &Lab, tasks: &Tasks) -> Self {
        Self::at(lab, lab.origin_ip(), tasks)
    }

    /// The same on another address inside.
    pub fn at(lab: &Lab, ip: IpAddr, tasks: &Tasks) -> Self {
        let origin = Self {
            ip,
            records: Arc::default(),
        };
        let plain = lab.listen(SocketAddr::new(ip, 80));
        let secure = lab.listen(SocketAddr::new(ip, 443));
        origin.clone().serve(plain, None, tasks);
        let modern = lab.listen(SocketAddr::new(ip, 8443));
        origin.serve_secure(secure, &[], tasks);
        origin.serve_secure(modern, &[b"h2"], tasks);
        origin
    }

    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.host())
    }

    pub fn https(&self, path: &str) -> String {
        format!("https://{}{path}", self.host())
    }

    /// Its address as URLs have it.
    fn host(&self) -> String {
        match self.ip {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        }
    }

    /// The same, on a port that speaks HTTP/2.
    pub fn h2(&self, path: &str) -> String {
        format!("https://{}:8443{path}", self.ip)
    }

    pub fn ws(&self, path: &str) -> String {
        format!("ws://{}{path}", self.ip)
    }

    /// Everything that one address sent and got.
    pub fn bytes_of(&self, peer: IpAddr) -> Bytes {
        let connections = self.records.connections.lock();
        connections
            .iter()
            .filter(|books| books.peer.ip() == peer)
            .fold(Bytes::default(), |sum, books| Bytes {
                up: sum.up + books.up.load(Ordering::Relaxed),
                down: sum.down + books.down.load(Ordering::Relaxed),
            })
    }

    /// How many connections of one address were accepted.
    pub fn connections_of(&self, peer: IpAddr) -> usize {
        let connections = self.records.connections.lock();
        let of_peer = connections.iter().filter(|one| one.peer.ip() == peer);
        of_peer.count()
    }

    /// Every address that ever connected.
    pub fn peers(&self) -> BTreeSet<IpAddr> {
        let connections = self.records.connections.lock();
        connections.iter().map(|books| books.peer.ip()).collect()
    }

    pub fn connections(&self) -> usize {
        self.records.connections.lock().len()
    }

    /// Requests and posts so far, as if they had never been.
    pub fn forget(&self) {
        self.records.requests.lock().clear();
        self.records.published.forget_posted();
    }

    /// From now on `path` is answered with this page, on every name and both ports.
    pub fn publish(&self, path: &str, page: Page) {
        self.records.published.put(path, page);
    }

    /// What was posted to a published path.
    pub fn posted(&self, path: &str) -> Vec<String> {
        self.records.published.posted(path)
    }

    pub fn requests_of(&self, peer: IpAddr) -> Vec<Seen> {
        let requests = self.records.requests.lock();
        requests
            .iter()
            .filter(|seen| seen.peer == peer)
            .cloned()
            .collect()
    }

    fn serve_secure(&self, listener: TcpListener, protocols: &[&[u8]], tasks: &Tasks) {
        let acceptor = acceptor(self.ip, protocols);
        self.clone().serve(listener, Some(acceptor), tasks);
    }

    fn serve(self, listener: TcpListener, tls: Option<TlsAcceptor>, tasks: &Tasks) {
        let group = tasks.clone();
        tasks.spawn("origin", |_stop| async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let books = Arc::new(Books {
                    peer,
                    up: 0.into(),
                    down: 0.into(),
                });
                self.records.connections.lock().push(Arc::clone(&books));
                let (origin, tasks, tls) = (self.clone(), group.clone(), tls.clone());
                let counted = Counted::new(stream, books);
                group.spawn("connection", |_stop| async move {
                    match tls {
                        None => origin.converse((counted, false), peer, tasks).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(counted).await {
                                let chosen = stream.get_ref().1.alpn_protocol();
                                let modern = chosen == Some(b"h2");
                                origin.converse((stream, modern), peer, tasks).await;
                            }
                        }
                    }
                });
            }
        });
    }

    async fn converse<S>(self, (stream, modern): (S, bool), peer: SocketAddr, tasks: Tasks)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request: Request<Incoming>| {
            let (origin, tasks) = (self.clone(), tasks.clone());
            async move {
                origin.remember(&request, peer);
                let answer = match origin.records.published.answer(request).await {
                    Ok(published) => published,
                    Err(request) => answers::answer(request, peer, &tasks).await,
                };
                Ok::<_, Infallible>(answer)
            }
        });
        if modern {
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            drop(connection.await);
            return;
        }
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // A client that leaves in the middle is its own business.
        drop(connection.await);
    }

    fn remember(&self, request: &Request<Incoming>, peer: SocketAddr) {
        let headers = request
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into(),
                )
            })
            .collect();
        self.records.requests.lock().push(Seen {
            peer: peer.ip(),
            path: request.uri().path().to_owned(),
            headers,
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_counts_what_curl_counts() {
    let lab = Lab::new();
    let origin = Origin::start(&lab, &Tasks::default());
    let from = lab.egress_addresses(1)[0];
    let curl = async |url: String, more: &[&str]| {
        let output = tokio::process::Command::new("curl")
            .args(["-sSk", "--noproxy", "*", "-o", "/dev/null", "--interface"])
            .arg(from.to_string())
            .args([
                "-w",
                "%{size_request} %{size_upload} %{size_header} %{size_download}",
            ])
            .args(more)
            .arg(url)
            .output()
            .await
            .expect("curl is installed");
        let text = String::from_utf8(output.stdout).unwrap();
        let counts: Vec<u64> = text.split(' ').map(|word| word.parse().unwrap()).collect();
        Bytes {
            up: counts[0] + counts[1],
            down: counts[2] + counts[3],
        }
    };
    let down = curl(origin.http("/bytes/1000000"), &[]).await;
    let body = "x".repeat(70_000);
    let up = curl(origin.http("/upload"), &["-H", "Expect:", "--data", &body]).await;
    let plain = origin.bytes_of(from);
    assert_eq!(plain.up, down.up + up.up);
    assert_eq!(plain.down, down.down + up.down);
    assert!(down.down > 1_000_000 && up.up > 70_000);

    let inner = curl(origin.https("/bytes/1000000"), &[]).await;
    let outer = origin.bytes_of(from).down - plain.down;
    assert!(
        outer > inner.down,
        "TLS costs something: {outer} over {}",
        inner.down
    );
    assert_eq!(origin.requests_of(from).len(), 3);
    assert_eq!(origin.peers(), BTreeSet::from([from]));
}
