//! The meter equals what the origin counted, both ways, to the byte.

use std::net::IpAddr;

use chaser::wire::node::ListSessionsRequest;
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
    chaser: Chaser,
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
            chaser,
            lab,
        }
    }

    async fn shown(&self) -> Bytes {
        self.all_shown().await.0
    }

    /// And how many connections.
    async fn all_shown(&self) -> (Bytes, u64) {
        let object = self.session.get().await;
        let count = |field: &str| object[field].as_u64().unwrap();
        assert_eq!(
            count("bytes_total"),
            count("bytes_up") + count("bytes_down")
        );
        let bytes = Bytes {
            up: count("bytes_up"),
            down: count("bytes_down"),
        };
        (bytes, count("connections"))
    }

    /// What the origin's sockets had.
    fn carried(&self) -> (Bytes, u64) {
        let connections = self.origin.connections_of(self.ip).try_into().unwrap();
        (self.origin.bytes_of(self.ip), connections)
    }

    /// Meter and origin agree while the session lives and after it has ended.
    async fn agrees(&self) -> Bytes {
        eventually("the live meter equals the origin", seconds(5), async || {
            (self.all_shown().await == self.carried()).then_some(())
        })
        .await;
        assert_eq!(self.session.delete().await.status, 204);
        let last = self.all_shown().await;
        assert_eq!(last, self.carried(), "the final figures");
        sleep(seconds(1)).await;
        assert_eq!(last, self.all_shown().await, "final is final");
        last.0
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
async fn each_connection_that_a_session_makes_is_counted_live_and_for_good() {
    const SOCKETS: u64 = 7;
    let mut metered = Metered::new().await;
    metered.client.goto(&metered.origin.http("/")).await;
    let before = metered.origin.connections_of(metered.ip);
    // No two WebSockets share a connection.
    let open = format!(
        "(async () => {{
            const one = () => new Promise((done, failed) => {{
                const socket = new WebSocket('{}');
                socket.onopen = () => done(socket);
                socket.onerror = () => failed('no connection');
            }});
            window.sockets = [];
            for (let i = 0; i < {SOCKETS}; i++) {{ window.sockets.push(await one()); }}
            return window.sockets.length;
        }})()",
        metered.origin.ws("/ws")
    );
    metered.fetched(&open, SOCKETS).await;
    let made = metered.origin.connections_of(metered.ip);
    assert!(made >= before + 7, "{before} before, {made} after");
    let (id, node) = (metered.session.id.clone(), metered.chaser.node.clone());
    let counted = async || {
        node.session(&id)
            .await
            .unwrap()
            .traffic
            .unwrap()
            .connections
    };
    let agreed = metered.carried().1;
    assert_eq!(counted().await, agreed);
    let request = ListSessionsRequest {
        live_only: true,
        with_usage: true,
    };
    let listed = node.dial().await.list_sessions(request).await.unwrap();
    let usage = listed.into_inner().sessions[0].usage.unwrap();
    assert!((SOCKETS..=agreed).contains(&usage.connections), "{usage:?}");
    let close = "window.sockets.forEach((socket) => socket.close()), 0";
    metered.fetched(close, 0).await;
    metered.agrees().await;
    assert_eq!(counted().await, metered.carried().1, "after its end");
    let name = "chaser_node_traffic_connections";
    eventually("the metric has them", seconds(20), async || {
        (metered.chaser.counter(name).await == metered.carried().1).then_some(())
    })
    .await;
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
