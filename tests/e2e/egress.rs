//! Where sessions come out, and what they can never reach.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use chaser::runtime::Tasks;
use futures::future::join_all;
use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};

use crate::harness::{Chaser, Client, Dns, Lab, Library, Setup, Trap, eventually, lab, seconds};

/// Counts requests of pages that the egress proxy refused, by cause.
pub const REFUSED: &str = "chaser_node_egress_refused";

const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

#[tokio::test(flavor = "multi_thread")]
async fn ten_sessions_at_once_leave_from_ten_addresses_and_no_other() {
    let (lab, origin) = lab();
    let chaser = Setup::on(&lab).egress_addresses(10).start().await;
    let sessions = join_all((0..10).map(|_| chaser.api.ready_session())).await;
    let visits = sessions.iter().enumerate().map(|(number, session)| {
        let url = origin.http(&format!("/visitor/{number}"));
        async move {
            let mut client = Library::Patchright.connect(&session.cdp_url).await;
            client.goto(&url).await;
            session.egress_ip().await
        }
    });
    let addresses = join_all(visits).await;
    for (number, ip) in addresses.iter().enumerate() {
        let pages: BTreeSet<String> = origin
            .requests_of(*ip)
            .into_iter()
            .map(|seen| seen.path)
            .filter(|path| path.starts_with("/visitor"))
            .collect();
        assert_eq!(pages, BTreeSet::from([format!("/visitor/{number}")]));
    }
    let all: BTreeSet<IpAddr> = addresses.into_iter().collect();
    assert_eq!(all.len(), 10, "one address each");
    assert_eq!(origin.peers(), all, "and no other was seen");
}

/// Asks for a URL in every way that a page has.
async fn try_everything(client: &mut Client, url: &str) {
    let script = format!(
        "(async () => {{
            const quietly = (promise) => promise.catch(() => 0);
            const stop = AbortSignal.timeout(3000);
            await quietly(fetch('{url}', {{ mode: 'no-cors', signal: stop }}));
            await quietly(fetch('{url}', {{ method: 'POST', body: 'x', mode: 'no-cors', signal: stop }}));
            await new Promise((done) => {{
                const image = new Image();
                image.onload = image.onerror = done;
                image.src = '{url}';
                setTimeout(done, 3000);
            }});
            await new Promise((done) => {{
                try {{
                    const socket = new WebSocket('{url}'.replace('http', 'ws'));
                    socket.onopen = socket.onerror = done;
                }} catch {{ done(); }}
                setTimeout(done, 3000);
            }});
        }})()"
    );
    client.evaluate(&script).await;
    client.attempt(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_private_is_reachable_from_a_page() {
    let (lab, origin) = lab();
    let tasks = Tasks::default();
    lab.claim_address(METADATA);
    let inside = |ip: IpAddr| Trap::inside(&lab, SocketAddr::new(ip, 80), &tasks);
    let traps = [
        inside(METADATA.into()),
        inside(lab.neighbour_ip()),
        inside(lab.ipv6()),
        Trap::on_host(SocketAddr::new(lab.host_ip(), 0), &tasks),
        Trap::on_host(SocketAddr::from(([127, 0, 0, 1], 0)), &tasks),
        Trap::on_host("[::1]:0".parse().unwrap(), &tasks),
    ];
    let neighbour = lab.neighbour_ip();
    let dns = Dns::start(
        &lab,
        &[
            ("inside.test", &[neighbour]),
            ("inside6.test", &[lab.ipv6()]),
            ("rebind.test", &[METADATA.into()]),
        ],
        &tasks,
    );
    let chaser = Setup::on(&lab).names(&dns).start().await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    let [_, _, _, host_port, loopback, loopback6] = &traps;
    let urls = [
        format!("http://{METADATA}/latest/meta-data/"),
        format!("http://{neighbour}/"),
        format!("http://[::ffff:{neighbour}]/"),
        format!("http://[64:ff9b::{neighbour}]/"),
        format!("http://[{}]/", lab.ipv6()),
        "http://inside.test/".to_owned(),
        "http://inside6.test/".to_owned(),
        "http://rebind.test/".to_owned(),
        format!("http://{}/", host_port.address()),
        format!("http://{}/", loopback.address()),
        format!("http://{}/", loopback6.address()),
        format!("http://localhost:{}/", loopback.address().port()),
        "http://0.0.0.0:9222/json/version".to_owned(),
    ];
    for url in &urls {
        client.goto(&origin.http("/here")).await;
        let before = chaser.counter(REFUSED).await;
        try_everything(&mut client, url).await;
        eventually(
            &format!("the refusal of {url} is counted"),
            seconds(5),
            async || (chaser.counter(REFUSED).await > before).then_some(()),
        )
        .await;
    }
    for trap in &traps {
        assert_eq!(trap.visits(), 0, "{} was reached", trap.address());
    }
    let own = BTreeSet::from([session.egress_ip().await]);
    assert_eq!(origin.peers(), own);
    assert!(
        chaser.logs().contains("169.254.169.254"),
        "the log names what was refused"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_page_what_is_refused_is_a_host_that_cannot_be_reached() {
    let (lab, origin) = lab();
    let tasks = Tasks::default();
    lab.claim_address(METADATA);
    let trap = Trap::inside(&lab, SocketAddr::new(METADATA.into(), 80), &tasks);
    let chaser = Chaser::start(&lab).await;
    let order = json!({ "limits": { "requests_per_minute": 30 } });
    let answer = chaser.api.post("/v1/sessions?wait=ready", &order).await;
    let session = chaser.api.adopt(&answer.body);
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    for url in [
        format!("http://{METADATA}/"),
        format!("http://{}:81/", lab.origin_ip()),
    ] {
        let error = client.attempt(&url).await.error.unwrap();
        assert!(error.contains("net::ERR_EMPTY_RESPONSE"), "{url}: {error}");
    }
    client.goto(&origin.http("/here")).await;
    // Its name for the page, and all that the page's own record of it says.
    let look = |url: String| {
        format!(
            "fetch('{url}', {{ mode: 'no-cors' }}).then((r) => r.type, (e) => `${{e}}`).then((outcome) => {{
                const {{ responseStatus, transferSize, encodedBodySize, nextHopProtocol }} =
                    performance.getEntriesByName('{url}')[0] ?? {{}};
                return {{ outcome, responseStatus, transferSize, encodedBodySize, nextHopProtocol }};
            }})"
        )
    };
    let refused = client.evaluate(&look(format!("http://{METADATA}/x"))).await;
    let nobody = look(format!("http://{}:81/x", lab.origin_ip()));
    assert_eq!(refused["outcome"], "TypeError: Failed to fetch");
    assert_eq!(refused, client.evaluate(&nobody).await);
    assert_eq!(trap.visits(), 0);
    // On a connection that has carried others a browser would ask once more: each counts once.
    let before = chaser.counter(REFUSED).await;
    let failed = client
        .evaluate(
            "(async () => {
                let failed = 0;
                for (let n = 0; n < 40; n++) {
                    await fetch('/' + n).then((r) => r.text(), () => failed++);
                }
                return failed;
            })()",
        )
        .await;
    let failed = failed.as_u64().unwrap();
    assert!((5..40).contains(&failed), "{failed}");
    assert_eq!(chaser.counter(REFUSED).await - before, failed);
    assert!(chaser.logs().contains("request_limit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_answers_nonsense_is_asked_once_and_its_page_sees_an_error() {
    let (lab, _origin) = lab();
    let tasks = Tasks::default();
    let address = SocketAddr::new(lab.origin_ip(), 8000);
    let listener = lab.listen(address);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let each = tasks.clone();
    tasks.spawn("nonsense", |_stop| async move {
        while let Ok((stream, _)) = listener.accept().await {
            let heard = Arc::clone(&heard);
            each.spawn("nonsense connection", |_stop| async move {
                let mut stream = BufStream::new(stream);
                let mut line = String::new();
                while matches!(stream.read_line(&mut line).await, Ok(1..)) {
                    if let Some((method, _)) = line.split_once(" /") {
                        heard.lock().push(method.to_owned());
                    }
                    if line == "\r\n" {
                        let answer = match heard.lock().last().map(String::as_str) {
                            Some("GET") => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
                            _ => "SSH-2.0-OpenSSH_9\r\n\r\n",
                        };
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        stream.flush().await.unwrap();
                    }
                    line.clear();
                }
            });
        }
    });
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&format!("http://{address}/")).await;
    let order = "fetch('/').then((r) => r.text())
        .then(() => fetch('/order', { method: 'POST' })).then((r) => r.status, (e) => `${e}`)";
    assert_eq!(client.evaluate(order).await, "TypeError: Failed to fetch");
    let posts = asked
        .lock()
        .iter()
        .filter(|method| *method == "POST")
        .count();
    assert_eq!(posts, 1, "{:?}", asked.lock());
    assert_eq!(chaser.counter(REFUSED).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn devtools_is_reachable_from_no_page() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    for host in ["127.0.0.1", "localhost", "[::1]", "127.1", "0.0.0.0"] {
        client.goto(&origin.http("/here")).await;
        let url = format!("http://{host}:9222/json/version");
        let text = client.attempt(&url).await.text;
        assert!(!text.contains("webSocketDebuggerUrl"), "{host}: {text}");
    }
    assert!(
        chaser.counter(REFUSED).await > 3,
        "{}",
        chaser.metrics().await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_leads_nowhere() {
    let (lab, origin) = lab();
    let address = SocketAddr::new(lab.origin_ip(), 3478);
    let stun = lab.listen_udp(address);
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/")).await;
    let script = format!(
        "(async () => {{
            const peer = new RTCPeerConnection({{ iceServers: [{{ urls: 'stun:{address}' }}] }});
            const found = [];
            peer.onicecandidate = (event) => event.candidate && found.push(event.candidate.candidate);
            peer.createDataChannel('x');
            await peer.setLocalDescription(await peer.createOffer());
            await new Promise((done) => setTimeout(done, 3000));
            return found;
        }})()"
    );
    let found = client.evaluate(&script).await.to_string();
    assert!(!found.contains("srflx"), "no address was learnt: {found}");
    let mut packet = [0; 64];
    let arrived = tokio::time::timeout(seconds(1), stun.recv_from(&mut packet)).await;
    assert!(arrived.is_err(), "a datagram came out");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_name_with_good_and_bad_addresses_only_the_good_are_used() {
    let (lab, origin) = lab();
    let tasks = Tasks::default();
    let neighbour = Trap::inside(&lab, SocketAddr::new(lab.neighbour_ip(), 80), &tasks);
    let both = [lab.neighbour_ip(), lab.origin_ip()];
    let dns = Dns::start(&lab, &[("both.test", &both)], &tasks);
    let chaser = Setup::on(&lab).names(&dns).start().await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    for page in ["/one", "/two"] {
        client.goto(&format!("http://both.test{page}")).await;
    }
    assert_eq!(neighbour.visits(), 0);
    assert!(origin.connections() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_believes_that_it_is_online() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/")).await;
    assert_eq!(client.evaluate("navigator.onLine").await, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_has_no_network_and_no_privilege() {
    let lab = Lab::new();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let container = chaser.container(&session.id).await;
    let shown = |template| crate::harness::docker::inspect(&container, template);
    assert_eq!(shown("{{.HostConfig.NetworkMode}}"), "none");
    assert_eq!(shown("{{.HostConfig.Privileged}}"), "false");
    assert_eq!(shown("{{.HostConfig.ReadonlyRootfs}}"), "true");
    assert_eq!(shown("{{.HostConfig.CapDrop}}"), "[ALL]");
    assert!(shown("{{.HostConfig.SecurityOpt}}").contains("no-new-privileges"));
    assert!(!shown("{{.Config.User}}").is_empty());
    assert!(!shown("{{.Args}}{{.Config.Cmd}}").contains("no-sandbox"));
    assert_eq!(
        shown("{{index .Config.Labels \"chaser.node\"}}"),
        chaser.node_id
    );
}
