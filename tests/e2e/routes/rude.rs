//! Upstreams that are slow, that reset, and that lie about lengths: whom it is put down to, and what the
//! session has of it.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
};

use super::*;
use crate::harness::Bytes;

/// What an upstream does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Nothing, but it takes its time over each answer.
    Slow,
    /// It promises a body after the head of its answer to `CONNECT`, which has none.
    PromisesABody,
    /// It resets where it should answer.
    Resets,
    /// It resets in the middle of what it carries.
    CutsOff,
    /// Its head has no end.
    Endless,
    /// Its SOCKS answer announces a name of 255 bytes and has three.
    ShortName,
}

/// Carries no more than this before it cuts off.
const BEFORE_THE_CUT: u64 = 20_000;

impl Manner {
    const ALL: [Self; 6] = [
        Self::Slow,
        Self::PromisesABody,
        Self::Resets,
        Self::CutsOff,
        Self::Endless,
        Self::ShortName,
    ];

    const fn kind(self) -> &'static str {
        match self {
            Self::ShortName => "socks5",
            Self::Slow | Self::PromisesABody | Self::Resets | Self::CutsOff | Self::Endless => {
                "http"
            }
        }
    }

    /// What its route is ill of, if of anything.
    const fn fault(self) -> Option<&'static str> {
        match self {
            Self::Slow | Self::PromisesABody | Self::CutsOff => None,
            Self::Resets | Self::ShortName => Some("unreachable"),
            Self::Endless => Some("refused"),
        }
    }

    async fn serve(self, mut stream: TcpStream) -> std::io::Result<()> {
        if self == Self::ShortName {
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).await?;
            stream.write_all(&[5, 0]).await?;
            stream.read_u8().await?;
            stream
                .write_all(&[5, 0, 0, 3, 255, b'a', b'b', b'c'])
                .await?;
            return stream.shutdown().await;
        }
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let to = head.split(' ').nth(1).unwrap();
        let answer: &[u8] = match self {
            Self::Resets => return stream.set_zero_linger(),
            Self::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
                loop {
                    stream.write_all(b"X-More: and more\r\n").await?;
                }
            }
            Self::Slow => {
                tokio::time::sleep(seconds(2)).await;
                b"HTTP/1.1 200 OK\r\n\r\n"
            }
            Self::PromisesABody => {
                b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nTransfer-Encoding: chunked\r\n\r\n"
            }
            Self::CutsOff | Self::ShortName => b"HTTP/1.1 200 OK\r\n\r\n",
        };
        let mut target = TcpStream::connect(to).await?;
        stream.write_all(answer).await?;
        if self != Self::CutsOff {
            copy_bidirectional(&mut stream, &mut target).await?;
            return Ok(());
        }
        let (mut from, mut to) = target.split();
        let (mut up, mut down) = stream.split();
        let mut part = (&mut from).take(BEFORE_THE_CUT);
        tokio::select! {
            _up = tokio::io::copy(&mut up, &mut to) => {}
            carried = tokio::io::copy(&mut part, &mut down) => {
                if carried? == BEFORE_THE_CUT {
                    stream.set_zero_linger()?;
                }
            }
        }
        Ok(())
    }

    /// Starts one like this and says the table of a route by way of it.
    fn start(self, lab: &Lab, last: u8, tasks: &Tasks) -> String {
        let server = SocketAddr::new(lab.address_inside(last), 3128);
        let (listener, group) = (lab.listen(server), tasks.clone());
        tasks.spawn("rude", |_stop| async move {
            while let Ok((stream, _relay)) = listener.accept().await {
                group.spawn("rude connection", move |_stop| async move {
                    // It ends as it ends.
                    drop(self.serve(stream).await);
                });
            }
        });
        let (name, kind) = (self.name(), self.kind());
        format!("[[route]]\nname = \"{name}\"\nkind = \"{kind}\"\nserver = \"{server}\"\n")
    }

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// What came of its connections is counted by its route.
    async fn is_counted(self, chaser: &Chaser) {
        let series = format!(
            "chaser_node_route_connections_total{{route=\"{}\",outcome=\"{}\"}} ",
            self.name(),
            self.fault().unwrap_or("served")
        );
        eventually(&series, seconds(20), async || {
            let metrics = chaser.metrics().await;
            let line = metrics
                .lines()
                .find_map(|line| line.strip_prefix(&series))?;
            (line != "0").then_some(())
        })
        .await;
    }

    /// What a session that has ended moved is its route's.
    async fn is_in_the_metrics(self, chaser: &Chaser, session: &Session) {
        let last = session.get().await;
        let metrics = chaser.metrics().await;
        for (direction, field) in [("up", "bytes_up"), ("down", "bytes_down")] {
            let series = format!(
                "chaser_node_route_bytes_total{{route=\"{}\",direction=\"{direction}\"}} {}\n",
                self.name(),
                last[field]
            );
            assert!(metrics.contains(&series), "{series}{metrics}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_does_wrong_is_put_down_to_it_and_nothing_else_is() {
    let ((lab, origin), tasks) = (lab(), Tasks::default());
    let each = (211..).zip(Manner::ALL);
    let tables: Vec<_> = each
        .map(|(last, one)| one.start(&lab, last, &tasks))
        .collect();
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set("egress", &routes_file(&lab, &tables))
        .start()
        .await;
    for manner in Manner::ALL {
        let session = session_by(&chaser, json!({ "route": manner.name() })).await;
        let mut client = Library::Patchright.connect(&session.cdp_url).await;
        if let Some(fault) = manner.fault() {
            eventually(
                &format!("{manner:?} is found out"),
                seconds(30),
                async || {
                    let shown = client.attempt(&origin.http("/never")).await;
                    assert!(!shown.text.contains("/never"), "{manner:?} served");
                    let (_code, route) = chaser.route(&["show", &manner.name()]).await;
                    (route["state"] == "quarantined").then(|| assert_eq!(route["fault"], fault))
                },
            )
            .await;
        } else {
            client
                .goto(&origin.http(&format!("/{}", manner.name())))
                .await;
            let big = origin.http("/bytes/300000");
            let script = format!(
                "fetch('{big}').then((r) => r.arrayBuffer()).then((b) => b.byteLength, () => -1)"
            );
            let whole = if manner == Manner::CutsOff {
                -1
            } else {
                300_000
            };
            assert_eq!(client.evaluate(&script).await, whole, "{manner:?}");
            client.goto(&origin.http("/still-there")).await;
            let (_code, route) = chaser.route(&["show", &manner.name()]).await;
            assert_eq!(route["state"], "well", "{manner:?}: {route}");
        }
        let shown = session.get().await;
        assert_eq!(shown["status"], "ready", "{manner:?}");
        let count = |field: &str| shown[field].as_u64().unwrap();
        let bytes = Bytes {
            up: count("bytes_up"),
            down: count("bytes_down"),
        };
        assert!(bytes.up > 0, "what was said to it is counted: {bytes:?}");
        manner.is_counted(&chaser).await;
        assert_eq!(session.delete().await.status, 204);
        manner.is_in_the_metrics(&chaser, &session).await;
    }
    let path = |path: &str| {
        let seen = origin
            .peers()
            .into_iter()
            .flat_map(|ip| origin.requests_of(ip));
        seen.filter(|seen| seen.path == path).count()
    };
    assert_eq!(path("/never"), 0, "nothing was tried by another road");
}
