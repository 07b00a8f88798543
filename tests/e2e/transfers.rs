//! Two hundred transfers of random kinds and sizes, ended by whoever: what the meter shows is what the
//! origin's own sockets carried.
//!
//! Where connections end in order the two are equal to the byte. Where one is cut they may differ by
//! what lay in socket buffers: the origin has written what was never read, the session what the origin
//! never read. That difference is fixed once things are quiet, and no later transfer moves it.
//! `CHASER_SEED` at build time is another seed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chaser::runtime::Tasks;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use crate::{
    flow::trust_the_tests_authority,
    harness::{Bytes, Chaser, Client, Lab, Library, Origin, Session, eventually, lab, seconds},
};

const BATCHES: usize = 20;
const OF: usize = 10;
/// The power of two that no body is larger than.
const LARGEST: u32 = 21;
const SEED: u64 = 20_261_126;

/// An origin without manners: it resets, it promises more than it sends, it hangs up.
#[derive(Clone)]
struct Unruly {
    address: SocketAddr,
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
}

impl Unruly {
    fn start(lab: &Lab, tasks: &Tasks) -> Self {
        let address = SocketAddr::new(lab.origin_ip(), 81);
        let (listener, group) = (lab.listen(address), tasks.clone());
        let this = Self {
            address,
            up: Arc::default(),
            down: Arc::default(),
        };
        let serving = this.clone();
        tasks.spawn("unruly", |_stop| async move {
            while let Ok((stream, _peer)) = listener.accept().await {
                let serving = serving.clone();
                group.spawn("rude", |_stop| async move {
                    // How it ends is the point.
                    drop(serving.converse(stream).await);
                });
            }
        });
        this
    }

    /// `/short/N` promises twice what it sends and ends properly, `/reset/N` ends with a reset, and
    /// `/deaf/N` does so without an answer.
    async fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
            self.up.fetch_add(1, Ordering::Relaxed);
        }
        let line = String::from_utf8_lossy(&head).into_owned();
        let mut words = line
            .split(['/', ' '])
            .filter(|word| !word.is_empty())
            .skip(1);
        let (how, count) = (
            words.next().unwrap(),
            words.next().unwrap().parse().unwrap(),
        );
        if how != "deaf" {
            let answer = format!(
                "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: {}\r\n\r\n",
                2 * count + 1
            );
            let answer = [answer.into_bytes(), vec![b'x'; count]].concat();
            let mut left = &answer[..];
            while !left.is_empty() {
                let written = stream.write(left).await?;
                self.down.fetch_add(written as u64, Ordering::Relaxed);
                left = &left[written..];
            }
        }
        if how == "short" {
            stream.shutdown().await?;
            // Whoever is told that it ended ends as well.
            stream.read_u8().await?;
        } else {
            stream.set_zero_linger()?;
        }
        Ok(())
    }
}

/// What happens while a batch runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Every connection ends in order.
    Orderly,
    /// The same, and the agent is killed meanwhile.
    AgentKilled,
    /// Either side cuts some.
    Cut,
    /// The page is gone before they are done.
    PageKilled,
}

impl Fate {
    const fn is_exact(self) -> bool {
        matches!(self, Self::Orderly | Self::AgentKilled)
    }
}

/// One session, and who counts with it.
struct Metered {
    chaser: Chaser,
    client: Client,
    session: Session,
    ip: IpAddr,
    origin: Origin,
    unruly: Unruly,
    /// What cut connections left different: written here and never read there.
    lost: Bytes,
    last: Bytes,
}

impl Metered {
    async fn shown(&mut self) -> Bytes {
        let object = self.session.get().await;
        let count = |field: &str| object[field].as_u64().unwrap();
        let now = Bytes {
            up: count("bytes_up"),
            down: count("bytes_down"),
        };
        let last = self.last;
        assert!(
            now.up >= last.up && now.down >= last.down,
            "the meter went from {last:?} to {now:?}"
        );
        self.last = now;
        now
    }

    fn witnessed(&self) -> Bytes {
        let orderly = self.origin.bytes_of(self.ip);
        Bytes {
            up: orderly.up + self.unruly.up.load(Ordering::Relaxed),
            down: orderly.down + self.unruly.down.load(Ordering::Relaxed),
        }
    }

    /// What each side has beyond the other, once neither moves any more.
    async fn settled(&mut self) -> Bytes {
        let mut before = (self.shown().await, self.witnessed());
        eventually("both counts are quiet", seconds(30), async || {
            sleep(seconds(1)).await;
            let now = (self.shown().await, self.witnessed());
            std::mem::replace(&mut before, now).eq(&now).then_some(())
        })
        .await;
        let (shown, witnessed) = before;
        let beyond = |more: u64, less: u64, what: &str| {
            more.checked_sub(less)
                .unwrap_or_else(|| panic!("{what}: {shown:?} shown, {witnessed:?} witnessed"))
        };
        Bytes {
            up: beyond(
                shown.up,
                witnessed.up,
                "the origin got what was not counted",
            ),
            down: beyond(witnessed.down, shown.down, "counted what no origin sent"),
        }
    }

    async fn run(&mut self, fate: Fate, rng: &mut StdRng) {
        let transfers: Vec<(String, u64)> = (0..OF).map(|_| self.transfer(fate, rng)).collect();
        let promised: u64 = transfers.iter().map(|(_, size)| size).sum();
        let scripts: Vec<&str> = transfers.iter().map(|(script, _)| &**script).collect();
        let start = format!(
            "window.running = Promise.all([{}].map((work) => work().then(() => '', String))), 0",
            scripts.join(",")
        );
        self.client.evaluate(&start).await;
        if fate == Fate::AgentKilled {
            self.chaser.sigkill();
            self.chaser.restart().await;
        }
        self.shown().await;
        if fate == Fate::PageKilled {
            let over = self.origin.http("/elsewhere");
            self.client.goto(&over).await;
        } else {
            let ended = self.client.evaluate("window.running").await;
            let failed = |end: &&Value| **end != "";
            let failures: Vec<&Value> = ended.as_array().unwrap().iter().filter(failed).collect();
            assert!(!fate.is_exact() || failures.is_empty(), "{failures:?}");
        }
        let now = self.settled().await;
        let more = Bytes {
            up: now.up.checked_sub(self.lost.up).unwrap(),
            down: now.down.checked_sub(self.lost.down).unwrap(),
        };
        if fate.is_exact() {
            assert_eq!(more, Bytes::default(), "{fate:?}: {scripts:#?}");
        }
        let heads = OF as u64 * 4096;
        assert!(
            more.up <= promised + heads && more.down <= promised + heads,
            "{fate:?}: {more:?}"
        );
        self.lost = now;
    }

    /// A function that makes one transfer, and at most how many bytes its body has either way.
    fn transfer(&self, fate: Fate, rng: &mut StdRng) -> (String, u64) {
        // Every order of magnitude as often as any other.
        let most = 1_u64 << rng.random_range(1..=LARGEST);
        let size = rng.random_range(1..=most);
        let (secure, rude) = (
            rng.random_bool(0.5),
            format!("http://{}", self.unruly.address),
        );
        let at = |path: String| {
            if secure {
                self.origin.https(&path)
            } else {
                self.origin.http(&path)
            }
        };
        let down = at(format!("/bytes/{size}"));
        let up = at("/upload".to_owned());
        let whole = format!(
            "fetch('{down}').then((r) => r.arrayBuffer())
                .then((b) => {{ if (b.byteLength !== {size}) throw 'short'; }})"
        );
        let sent = format!(
            "fetch('{up}', {{ method: 'POST', body: new Uint8Array({size}).fill(97) }})
                .then((r) => r.json()).then((j) => {{ if (j.received !== {size}) throw 'short'; }})"
        );
        let gone = |how: &str, size| {
            format!("fetch('{rude}/{how}/{size}').then((r) => r.text()).catch(() => 0)")
        };
        let cut = matches!(fate, Fate::Cut) && rng.random_bool(0.6);
        let work = match (cut, rng.random_range(0..4)) {
            (false, 0) => sent,
            (false, 1) => format!(
                "new Promise((done, failed) => {{
                    const socket = new WebSocket('{}');
                    let left = {size};
                    socket.onopen = () => socket.send('x'.repeat({size}));
                    socket.onmessage = (message) => {{ left -= message.data.length; socket.close(); }};
                    socket.onclose = () => (left === 0 ? done() : failed('short'));
                }})",
                self.origin.ws("/ws")
            ),
            (false, 2) => gone("short", size),
            (false, _) => whole,
            (true, 0) => gone("reset", size),
            (true, 1) => gone("deaf", size),
            (true, 2) => format!(
                "(async () => {{
                    const control = new AbortController();
                    const answer = await fetch('{down}', {{ signal: control.signal }});
                    const reader = answer.body.getReader();
                    let seen = 0;
                    while (seen < {}) {{
                        const {{ value, done }} = await reader.read();
                        if (done) break;
                        seen += value.length;
                    }}
                    control.abort();
                }})()",
                size / 2
            ),
            (true, _) => format!(
                "fetch('{up}', {{ method: 'POST', signal: AbortSignal.timeout({}),
                    body: new Uint8Array({size}).fill(97) }}).then((r) => r.json())",
                rng.random_range(1..60)
            ),
        };
        (format!("() => {work}"), size * 2 + 1)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_random_transfers_are_what_the_origins_sockets_carried() {
    let seed = option_env!("CHASER_SEED").map_or(SEED, |text| text.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    let ((lab, origin), tasks) = (lab(), Tasks::default());
    let unruly = Unruly::start(&lab, &tasks);
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    trust_the_tests_authority(&mut client).await;
    client.goto(&origin.http("/")).await;
    let mut metered = Metered {
        ip: session.egress_ip().await,
        chaser,
        client,
        session,
        origin,
        unruly,
        lost: Bytes::default(),
        last: Bytes::default(),
    };
    for batch in 0..BATCHES {
        let fate = match batch % 5 {
            1 | 4 => Fate::Cut,
            2 => Fate::PageKilled,
            3 => Fate::AgentKilled,
            _ => Fate::Orderly,
        };
        eprintln!("seed {seed}, batch {batch}: {fate:?}");
        metered.run(fate, &mut rng).await;
    }
    assert_eq!(metered.session.delete().await.status, 204);
    let end = metered.settled().await;
    assert_eq!(end, metered.lost, "the end lost nothing more");
    assert!(
        metered.last.down > 1_000_000 && metered.last.up > 1_000_000,
        "{:?}",
        metered.last
    );
}
