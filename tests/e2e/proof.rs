//! What may be killed under live traffic, again and again, and what nobody may notice of it.

use std::collections::BTreeMap;

use chaser::wire::node::NodeState;
use futures::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::harness::{
    Agent, Bytes, Cdp, Chaser, Library, Session, docker, eventually, lab, processes, seconds,
    session_id, spec,
};

const KILLS: usize = 10;

/// Pid of every container's init.
fn inits(node: &str) -> BTreeMap<String, Option<u32>> {
    let names = docker::containers_of(node).into_iter();
    names
        .map(|name| (name.clone(), docker::pid(&name)))
        .collect()
}

async fn shown(session: &Session) -> Bytes {
    let object = session.get().await;
    let count = |field: &str| object[field].as_u64().unwrap();
    Bytes {
        up: count("bytes_up"),
        down: count("bytes_down"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_of_the_agent_are_felt_by_no_navigation_and_no_download() {
    const SIZE: u64 = 100_000_000;
    let (lab, origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let (one, two) = tokio::join!(chaser.api.ready_session(), chaser.api.ready_session());
    let mut looping = Library::Patchright.connect(&one.cdp_url).await;
    let mut loading = Library::Patchright.connect(&two.cdp_url).await;
    let urls = ["/a", "/b", "/c"].map(|path| origin.http(path));
    looping.must("loop", json!({ "urls": urls })).await;
    loading.goto(&origin.http("/")).await;
    let start = format!(
        "window.transfer = fetch('/drip/{SIZE}/20000').then((r) => r.arrayBuffer())
            .then((b) => b.byteLength), 0"
    );
    assert_eq!(loading.evaluate(&start).await, 0);
    let (before, relay) = (inits(&chaser.node_id), chaser.relay_pid());
    let mut arrived = looping.arrivals(2).await;

    for _ in 0..KILLS {
        chaser.sigkill();
        arrived = looping.arrivals(arrived + 1).await;
        chaser.restart().await;
        arrived = looping.arrivals(arrived + 1).await;
    }

    assert_eq!(loading.evaluate("window.transfer").await, SIZE);
    let told = looping.must("loop_stop", json!({})).await;
    assert_eq!(told["failures"], json!([]));
    assert!(!looping.was_disconnected() && !loading.was_disconnected());
    assert_eq!(inits(&chaser.node_id), before, "no container was touched");
    assert_eq!(chaser.relay_pid(), relay, "the relay lived on");
    for session in [&one, &two] {
        let ip = session.egress_ip().await;
        eventually("the meter equals the origin's", seconds(5), async || {
            (shown(session).await == origin.bytes_of(ip)).then_some(())
        })
        .await;
        assert_eq!(session.delete().await.status, 204);
        assert_eq!(
            shown(session).await,
            origin.bytes_of(ip),
            "the final figure"
        );
    }
}

/// A client that comes at once after the relay died, and how long it took to be served.
async fn reconnect(session: &Session, killed: Instant) -> (Cdp, std::time::Duration) {
    let mut cdp = Cdp::open(&session.cdp_url).await;
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
    (cdp, killed.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_of_the_relay_cost_each_client_two_seconds_at_most_and_no_count() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let sessions = join_all((0..3).map(|_| chaser.api.ready_session())).await;
    let ips = join_all(sessions.iter().map(Session::egress_ip)).await;
    let before = inits(&chaser.node_id);
    let mut clients = join_all(sessions.iter().map(|one| Cdp::open(&one.cdp_url))).await;
    let mut counts = vec![Bytes::default(); sessions.len()];
    let mut slowest = seconds(0);
    for round in 0..KILLS {
        for cdp in &mut clients {
            let page = cdp.attach().await;
            let url = json!({ "url": origin.http(&format!("/bytes/{}", 50_000 + round)) });
            let gone = cdp.call_in(Some(&page), "Page.navigate", url).await;
            gone.unwrap();
        }
        let relay = chaser.relay_pid();
        processes::kill(relay);
        let killed = Instant::now();
        let back = join_all(sessions.iter().map(|one| reconnect(one, killed))).await;
        clients.clear();
        for (cdp, took) in back {
            slowest = slowest.max(took);
            clients.push(cdp);
        }
        for ((session, ip), last) in sessions.iter().zip(&ips).zip(&mut counts) {
            let now = shown(session).await;
            let seen = origin.bytes_of(*ip);
            assert!(
                now.up >= last.up && now.down >= last.down,
                "{last:?} {now:?}"
            );
            assert!(
                now.up <= seen.up && now.down <= seen.down,
                "{now:?} {seen:?}"
            );
            *last = now;
        }
    }
    println!("the slowest of {} reconnects took {slowest:?}", KILLS * 3);
    assert!(slowest < seconds(2), "{slowest:?}");
    assert!(counts.iter().all(|one| one.down > 100_000), "{counts:?}");
    assert_eq!(inits(&chaser.node_id), before, "no container was touched");
    for session in &sessions {
        assert_eq!(session.get().await["status"], "ready");
        assert_eq!(session.delete().await.status, 204);
    }
}

/// `TEST_SESSIONS=60` for the figure of a whole machine.
fn as_many_as_fit(default: usize) -> usize {
    let named = std::env::var_os("TEST_SESSIONS");
    let named = named.and_then(|count| count.to_str()?.parse().ok());
    named.unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_many_live_sessions_is_ready_again_within_two_seconds() {
    let (lab, _origin) = lab();
    let count = as_many_as_fit(12);
    // Sixty times the usual promise of threads is more than this kernel has.
    let config = format!("[node]\nmax_sessions = {count}\n[instance]\npids = 400");
    let mut agent = Agent::start(&lab, &config).await;
    let ids: Vec<_> = (0..count).map(|_| session_id()).collect();
    for some in ids.chunks(4) {
        let orders = some
            .iter()
            .map(|id| agent.node.provision(id, spec(seconds(1800))));
        join_all(orders)
            .await
            .into_iter()
            .for_each(|made| drop(made.unwrap()));
    }
    let before = inits(&agent.node_id);
    assert_eq!(before.len(), count);
    let mut cdp = Cdp::open(&format!("ws://{}/sessions/{}", agent.cdp, ids[0])).await;

    agent.sigkill();
    let launched = Instant::now();
    agent.launch();
    agent.wait_until(NodeState::Ready).await;
    let took = launched.elapsed();
    println!("ready again with {count} live sessions after {took:?}");

    assert!(took < seconds(2), "{count} sessions: {took:?}");
    let status = agent.node.status().await;
    assert_eq!(status.ready as usize, count, "none was lost");
    assert_eq!(inits(&agent.node_id), before, "none was touched");
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
    sleep(seconds(1)).await;
    assert_eq!(agent.node.status().await.ready as usize, count);
}
