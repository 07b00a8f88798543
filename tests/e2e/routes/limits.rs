//! What a session may take of its way out, and where a route may lead.

use super::*;
use crate::harness::{Bytes, processes};

async fn limited(chaser: &Chaser, order: Value) -> Session {
    let answer = chaser.api.post("/v1/sessions?wait=ready", &order).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    chaser.api.adopt(&answer.body)
}

fn bytes_of(object: &Value) -> Bytes {
    Bytes {
        up: object["bytes_up"].as_u64().unwrap(),
        down: object["bytes_down"].as_u64().unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_last_byte_of_its_quota_and_never_has_one_more() {
    const QUOTA: u64 = 1_000_000;
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let order = json!({ "limits": { "quota_bytes": QUOTA } });
    let session = limited(&chaser, order).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    trust_the_tests_authority(&mut client).await;
    client.goto(&origin.http("/within")).await;
    let before = session.get().await;
    assert_eq!(
        bytes_of(&before),
        origin.bytes_of(session.egress_ip().await)
    );
    // Six at once, in both directions, plain and inside TLS: all of them together meet one end.
    let (plain, secure) = (origin.http("/bytes/900000"), origin.https("/bytes/900000"));
    let upload = origin.https("/upload");
    let start = format!(
        "[fetch('{plain}'), fetch('{secure}'), fetch('{secure}?2'), fetch('{plain}?2'),
          fetch('{upload}', {{ method: 'POST', body: 'x'.repeat(900000) }}),
          fetch('{upload}', {{ method: 'POST', body: 'y'.repeat(900000) }})]
            .map((one) => one.then((r) => r.arrayBuffer()).catch(() => 0)), 0"
    );
    // The session may be over before this is answered.
    drop(client.call("evaluate", json!({ "script": start })).await);
    let ended = session.wait_for("closed").await;
    assert_eq!(ended["ended_reason"], "quota_exceeded");
    assert_eq!(ended["error"], Value::Null);
    assert_eq!(ended["bytes_total"], QUOTA, "to the byte: {ended}");
    eventually("its client is told", seconds(5), async || {
        client.was_disconnected().then_some(())
    })
    .await;
    let late = chaser.api.http().get(session.version_url()).send().await;
    let late = late.unwrap();
    assert_eq!(late.status(), 410);
    assert!(late.text().await.unwrap().contains("quota_exceeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_does_not_begin_anew_where_a_relay_dies_and_its_counters_are_lost() {
    const QUOTA: u64 = 1_000_000;
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = limited(&chaser, json!({ "limits": { "quota_bytes": QUOTA } })).await;
    let ip = session.egress_ip().await;
    for (lost, upto) in [(false, 400_000), (true, 700_000)] {
        let mut client = Library::Patchright.connect(&session.cdp_url).await;
        client.goto(&origin.http("/")).await;
        let fetch = "fetch('/bytes/300000').then((r) => r.arrayBuffer()).then((b) => b.byteLength)";
        assert_eq!(client.evaluate(fetch).await, 300_000);
        let (before, made) = eventually("the meter equals the origin", seconds(10), async || {
            let object = session.get().await;
            let (now, made) = (bytes_of(&object), object["connections"].clone());
            let whole = now == origin.bytes_of(ip) && made == origin.connections_of(ip);
            whole.then_some((now.up + now.down, made))
        })
        .await;
        assert!((300_000..upto).contains(&before), "{before}");
        drop(client);
        if lost {
            let mut meters = fs::read_dir(chaser.runtime_dir.join("meter")).unwrap();
            fs::remove_file(meters.next().unwrap().unwrap().path()).unwrap();
        }
        let relay = chaser.relay_pid();
        processes::kill(relay);
        eventually("there is another relay", seconds(20), async || {
            chaser.relay_after(relay)
        })
        .await;
        let object = session.get().await;
        let now = bytes_of(&object);
        assert!(now.up + now.down >= before, "never back: {now:?}");
        assert!(object["connections"].as_u64() >= made.as_u64(), "{object}");
    }
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    let fetch =
        json!({ "script": "fetch('/bytes/900000').then((r) => r.arrayBuffer()).catch(() => 0)" });
    drop(client.call("evaluate", fetch).await);
    let ended = session.wait_for("closed").await;
    assert_eq!(
        (&ended["ended_reason"], &ended["bytes_total"]),
        (&json!("quota_exceeded"), &json!(QUOTA))
    );
    assert_eq!(ended["connections"], origin.connections_of(ip), "{ended}");
    let seen = origin.bytes_of(ip);
    // What the origin's sockets had sent and nobody read is beyond, and nothing else.
    assert!(seen.up <= bytes_of(&ended).up, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pace_is_kept_and_every_byte_is_counted_all_the_same() {
    const SIZE: u64 = 600_000;
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let order = json!({ "limits": { "bytes_per_second": 200_000 } });
    let session = limited(&chaser, order).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    trust_the_tests_authority(&mut client).await;
    client.goto(&origin.https("/")).await;
    let script = format!(
        "(async () => {{
            const began = performance.now();
            const each = [1, 2, 3].map((n) => fetch('/bytes/{}?' + n).then((r) => r.arrayBuffer()));
            const got = (await Promise.all(each)).reduce((sum, one) => sum + one.byteLength, 0);
            return [got, performance.now() - began];
        }})()",
        SIZE / 3
    );
    let took = client.evaluate(&script).await;
    assert_eq!(took[0], SIZE);
    // All of it less a quarter of a second's burst, at the pace: no less, whatever else runs here.
    assert!(took[1].as_f64().unwrap() > 2_600.0, "{took}");
    let ip = session.egress_ip().await;
    eventually("the meter equals the origin", seconds(5), async || {
        (bytes_of(&session.get().await) == origin.bytes_of(ip)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_session_goes_on_slowly_and_its_quota_ends_it_all_the_same() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let order = json!({ "limits": {
        "throttle_after_bytes": 400_000, "throttle_bytes_per_second": 200_000, "quota_bytes": 1_500_000,
    } });
    let session = limited(&chaser, order).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/")).await;
    let took = client
        .evaluate(
            "(async () => {
                const began = performance.now();
                const each = [1, 2].map((n) => fetch('/bytes/450000?' + n).then((r) => r.arrayBuffer()));
                const got = (await Promise.all(each)).reduce((sum, one) => sum + one.byteLength, 0);
                return [got, performance.now() - began];
            })()",
        )
        .await;
    assert_eq!(took[0], 900_000);
    // Half a million at the pace, less a quarter of a second's burst: no less, whatever else runs here.
    assert!(took[1].as_f64().unwrap() > 2_200.0, "{took}");
    assert!(chaser.logs().contains("throttled from now on"));
    let ip = session.egress_ip().await;
    eventually("the meter equals the origin", seconds(5), async || {
        (bytes_of(&session.get().await) == origin.bytes_of(ip)).then_some(())
    })
    .await;
    assert_eq!(session.get().await["status"], "ready");
    let script = "fetch('/bytes/900000').then((r) => r.arrayBuffer()).catch(() => 0)";
    drop(client.call("evaluate", json!({ "script": script })).await);
    let ended = session.wait_for("closed").await;
    assert_eq!(ended["ended_reason"], "quota_exceeded");
    assert_eq!(ended["bytes_total"], 1_500_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_has_limits_and_bounds_of_its_own() {
    let (lab, origin) = lab();
    let upstream = Upstream::start(&lab, Software::Microsocks, 210);
    let only = format!(
        "only = {{ networks = [\"{}/32\"], ports = [80] }}",
        lab.origin_ip()
    );
    let tables = [
        direct("bounded", &lab.egress_addresses(1)[0].to_string(), &only),
        upstream.route(
            "tunnels",
            "never = { schemes = [\"http\"], hosts = [\"never.test\"] }\n\
             limits = { quota_bytes = 3000000, requests_per_minute = 20 }",
        ),
    ];
    let chaser = Setup::on(&lab)
        .egress_addresses(0)
        .set("egress", &routes_file(&lab, &tables))
        .start()
        .await;
    let session = session_by(&chaser, json!({ "route": "bounded" })).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    trust_the_tests_authority(&mut client).await;
    client.goto(&origin.http("/port-80")).await;
    let shown = client.attempt(&origin.https("/port-443")).await;
    assert!(
        shown
            .error
            .unwrap()
            .contains("ERR_TUNNEL_CONNECTION_FAILED")
    );
    assert_eq!(origin.requests_of(session.egress_ip().await).len(), 1);

    let order = json!({ "proxy": { "route": "tunnels" }, "limits": { "quota_bytes": 9_000_000 } });
    let session = limited(&chaser, order).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    trust_the_tests_authority(&mut client).await;
    // Refused, each a request all the same.
    client.attempt(&origin.http("/plain")).await;
    client.attempt("https://www.never.test/").await;
    client.goto(&origin.https("/third")).await;
    let more = "Promise.all([...Array(40).keys()].map((n) =>
        fetch(`https://${n}.never.test/`).catch(() => 0))).then(() => 0)";
    client.evaluate(more).await;
    let seen = origin.requests_of(upstream.ip());
    assert!(
        seen.iter()
            .all(|seen| seen.path == "/third" || seen.path == "/favicon.ico"),
        "{seen:?}"
    );
    let metrics = chaser.metrics().await;
    for reason in [
        "denied_port",
        "denied_scheme",
        "denied_host",
        "request_limit",
    ] {
        assert!(
            metrics.contains(&format!("reason=\"{reason}\"")),
            "{reason}: {metrics}"
        );
    }
    // The tighter of the two quotas holds.
    let script = "fetch('/bytes/5000000').then((r) => r.arrayBuffer()).catch(() => 0)";
    drop(client.call("evaluate", json!({ "script": script })).await);
    let ended = session.wait_for("closed").await;
    assert_eq!(ended["ended_reason"], "quota_exceeded");
    assert_eq!(ended["bytes_total"], 3_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_are_none_are_refused_by_name() {
    let lab = Lab::new();
    let chaser = Chaser::start(&lab).await;
    let half = json!({ "limits": { "throttle_after_bytes": 7 } });
    let answer = chaser.api.post("/v1/sessions", &half).await;
    let message = answer.refused(400, "invalid_request");
    assert!(message.contains("`throttle_bytes_per_second`"), "{message}");
    for limits in [
        json!(7),
        json!({ "quota": 7 }),
        json!({ "connections": -1 }),
    ] {
        let order = json!({ "limits": limits });
        let answer = chaser.api.post("/v1/sessions", &order).await;
        let message = answer.refused(400, "invalid_request");
        assert!(message.contains("quota_bytes"), "{message}");
    }
}
