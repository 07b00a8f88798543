//! The meter equals what the origin counted, both ways, to the byte.

use std::net::IpAddr;

use serde_json::json;
use tokio::time::sleep;

use crate::{
    flow::trust_the_tests_authority,
    harness::{
        Bytes, Chaser, Client, Lab, Library, Origin, Session, Witness, eventually, lab, seconds,
    },
};

/// One session with one client, and the origin that it talks to.
struct Metered {
    client: Client,
    session: Session,
    ip: IpAddr,
    origin: Origin,
    _chaser: Chaser,
    lab: Lab,
}

impl Metered {
    async fn new() -> Self {
        let (lab, origin) = lab();
        let chaser = Chaser::start(&lab).await;
        let session = chaser.api.ready_session().await;
        let mut client = Library::Patchright.connect(&session.cdp_url).await;
        trust_the_tests_authority(&mut client).await;
        Self {
            client,
            ip: session.egress_ip().await,
            session,
            origin,
            _chaser: chaser,
            lab,
        }
    }

    async fn shown(&self) -> Bytes {
        let object = self.session.get().await;
        let count = |field: &str| object[field].as_u64().unwrap();
        assert_eq!(
            count("bytes_total"),
            count("bytes_up") + count("bytes_down")
        );
        Bytes {
            up: count("bytes_up"),
            down: count("bytes_down"),
        }
    }

    /// Meter and origin agree while the session lives and after it has ended.
    async fn agrees(&self) -> Bytes {
        eventually("the live meter equals the origin", seconds(5), async || {
            (self.shown().await == self.origin.bytes_of(self.ip)).then_some(())
        })
        .await;
        assert_eq!(self.session.delete().await.status, 204);
        let last = self.shown().await;
        assert_eq!(last, self.origin.bytes_of(self.ip), "the final figure");
        sleep(seconds(1)).await;
        assert_eq!(last, self.shown().await, "final is final");
        last
    }

    async fn fetched(&mut self, script: &str, expected: u64) {
        assert_eq!(self.client.evaluate(script).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_metered_to_the_byte() {
    let mut metered = Metered::new().await;
    for page in ["/one", "/two", "/three"] {
        metered.client.goto(&metered.origin.http(page)).await;
    }
    let bytes = metered.agrees().await;
    assert!(bytes.up > 500 && bytes.down > 300, "{bytes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_metered_to_the_byte_with_its_handshakes() {
    let mut metered = Metered::new().await;
    for page in ["/one", "/two", "/three"] {
        metered.client.goto(&metered.origin.https(page)).await;
    }
    let bytes = metered.agrees().await;
    assert!(bytes.down > 1000, "{bytes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_metered_to_the_byte() {
    let mut metered = Metered::new().await;
    metered.client.goto(&metered.origin.http("/")).await;
    let script = format!(
        "new Promise((done, failed) => {{
            const socket = new WebSocket('{}');
            let count = 0;
            socket.onopen = () => {{ for (let i = 0; i < 50; i++) socket.send('x'.repeat(1000)); }};
            socket.onmessage = (message) => {{
                count += message.data.length;
                if (count === 50000) {{ socket.close(); }}
            }};
            socket.onclose = () => done(count);
            socket.onerror = () => failed('no echo');
        }})",
        metered.origin.ws("/ws")
    );
    metered.fetched(&script, 50_000).await;
    let bytes = metered.agrees().await;
    assert!(bytes.up > 50_000 && bytes.down > 50_000, "{bytes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_of_50_mb_is_metered_to_the_byte() {
    const SIZE: u64 = 50_000_000;
    let mut metered = Metered::new().await;
    metered.client.goto(&metered.origin.https("/")).await;
    let script =
        format!("fetch('/bytes/{SIZE}').then((r) => r.arrayBuffer()).then((b) => b.byteLength)");
    metered.fetched(&script, SIZE).await;
    let bytes = metered.agrees().await;
    assert!(bytes.down > SIZE && bytes.up < SIZE / 100, "{bytes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_20_mb_is_metered_to_the_byte() {
    // Letters: Chrome tells clients the body as text, six bytes for each zero, and silently drops
    // messages beyond 256 MiB that are not read yet.
    const SIZE: u64 = 20_000_000;
    let mut metered = Metered::new().await;
    metered.client.goto(&metered.origin.http("/")).await;
    let script = format!(
        "fetch('/upload', {{ method: 'POST', body: new Uint8Array({SIZE}).fill(97) }})
            .then((r) => r.json()).then((j) => j.received)"
    );
    metered.fetched(&script, SIZE).await;
    let bytes = metered.agrees().await;
    assert!(bytes.up > SIZE && bytes.down < SIZE / 100, "{bytes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_meter_moves_during_a_transfer() {
    const SIZE: u64 = 2_000_000;
    let mut metered = Metered::new().await;
    metered.client.goto(&metered.origin.http("/")).await;
    let start = format!(
        "window.transfer = fetch('/drip/{SIZE}/6000').then((r) => r.arrayBuffer())
            .then((b) => b.byteLength), 0"
    );
    metered.fetched(&start, 0).await;
    let mut samples = Vec::new();
    eventually("the transfer is over", seconds(20), async || {
        samples.push(metered.shown().await.down);
        (samples.last().unwrap() > &SIZE).then_some(())
    })
    .await;
    assert!(samples.is_sorted(), "it never goes back: {samples:?}");
    samples.dedup();
    let between = samples
        .iter()
        .filter(|down| (50_000..SIZE).contains(*down))
        .count();
    assert!(between >= 3, "it moves while bytes flow: {samples:?}");
    metered.fetched("window.transfer", SIZE).await;
    metered.agrees().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cdp_traffic_is_counted_beside_and_not_in_the_total() {
    let mut metered = Metered::new().await;
    metered.client.must("screenshot", json!({})).await;
    metered.client.evaluate("'x'.repeat(500000)").await;
    assert_eq!(metered.agrees().await, Bytes::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_counts_what_the_meter_counts_and_no_part_of_it_is_ours() {
    let mut metered = Metered::new().await;
    let witness = Witness::of(&metered.lab, metered.ip);
    let origin = metered.origin.clone();
    let resent = witness.resent();
    metered.client.goto(&origin.http("/")).await;
    let script = format!(
        "(async () => {{
            const get = (url) => fetch(url, {{ mode: 'no-cors' }}).then((r) => r.text());
            const big = fetch('{}', {{ mode: 'no-cors' }}).then((r) => r.arrayBuffer());
            const post = fetch('/upload', {{ method: 'POST', body: 'x'.repeat(3000000) }}).then((r) => r.text());
            const small = [...Array(50).keys()].map((n) => get('/bytes/1000?' + n));
            await Promise.all([big, post, ...small]);
            return 0;
        }})()",
        origin.http("/bytes/8000000"),
    );
    metered.client.evaluate(&script).await;
    metered.client.goto(&origin.https("/")).await;
    let fetch = "fetch('/bytes/500000').then((r) => r.arrayBuffer()).then(() => 0)";
    metered.client.evaluate(fetch).await;
    let agreed = metered.agrees().await;
    assert!(
        agreed.down > 8_500_000 && agreed.up > 3_000_000,
        "{agreed:?}"
    );
    let again = witness.resent() - resent;
    let seen = witness.payload();
    // What was sent again has crossed twice; nothing that the meter has can be missing.
    let most = |counted: u64| counted + again * 65_536;
    assert!(
        (agreed.up..=most(agreed.up)).contains(&seen.up),
        "{seen:?} {agreed:?} {again}"
    );
    assert!(
        (agreed.down..=most(agreed.down)).contains(&seen.down),
        "{seen:?} {agreed:?} {again}"
    );
}
