//! Every end of a session: its reason, its close code, its time.

use std::time::{Duration, SystemTime};

use chaser::wire::node::{EndReason, Phase, event::What};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::{
    Cdp, Chaser, Library, Session, Setup, docker, eventually, lab, processes, seconds, session_id,
    spec,
};

/// The three places where an end can be read agree, and the session stays over.
async fn ended_as(session: &Session, reason: &str) -> Value {
    let closed = session.wait_for("closed").await;
    assert_eq!(closed["ended_reason"], reason);
    let refused = Cdp::connect(&session.cdp_url).await.err().unwrap();
    assert_eq!(refused.status, 410);
    assert_eq!(refused.body["error"]["reason"], reason);
    session.delete().await.refused(409, "session_not_open");
    closed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_session_closes_its_clients_with_4001() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut cdp = Cdp::open(&session.cdp_url).await;
    assert_eq!(session.delete().await.status, 204);
    let close = cdp.closed(seconds(1)).await;
    assert_eq!(close, Some((4001, "client_delete".to_owned())));
    ended_as(&session, "client_delete").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_deleted_while_creating_is_closed_and_never_ready() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.create().await;
    assert_eq!(session.delete().await.status, 204);
    let closed = ended_as(&session, "client_delete").await;
    assert_eq!(closed["ready_at"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lifetime_ends_within_a_second_with_4002() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab).set("api", "ttl_min = \"1s\"").start().await;
    let answer = chaser
        .api
        .post("/v1/sessions", &json!({ "ttl_seconds": 8 }))
        .await;
    let session = chaser.api.adopt(&answer.body);
    session.wait_for("ready").await;
    let mut cdp = Cdp::open(&session.cdp_url).await;
    let close = cdp.closed(seconds(10)).await;
    let now = SystemTime::now();
    assert_eq!(close, Some((4002, "ttl_expired".to_owned())));

    let node = chaser.node.session(&session.id).await.unwrap();
    let due = SystemTime::try_from(node.expires_at.unwrap()).unwrap();
    let late = now.duration_since(due).expect("not before its time");
    assert!(late < seconds(1), "{late:?} after its time");
    ended_as(&session, "ttl_expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_clients_ends_idle_and_one_with_a_client_does_not() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab)
        .set("session", "idle_timeout = \"3s\"")
        .start()
        .await;
    let (left, held) = tokio::join!(chaser.api.ready_session(), chaser.api.ready_session());
    let mut client = Cdp::open(&held.cdp_url).await;
    ended_as(&left, "idle_expired").await;

    // Silent, but connected for longer than the limit.
    sleep(seconds(4)).await;
    assert_eq!(held.get().await["status"], "ready");
    client.call("Browser.getVersion", json!({})).await.unwrap();
    drop(client);
    let gone = Instant::now();
    sleep(seconds(2)).await;
    assert_eq!(held.get().await["status"], "ready");
    ended_as(&held, "idle_expired").await;
    assert!(gone.elapsed() < seconds(5), "{:?}", gone.elapsed());
}

/// Kills what is under a session, and expects the end within two seconds.
async fn substrate_down_after(chaser: &Chaser, kill: impl AsyncFnOnce(String)) {
    let session = chaser.api.ready_session().await;
    let mut cdp = Cdp::open(&session.cdp_url).await;
    let container = chaser.container(&session.id).await;
    let killed = Instant::now();
    kill(container).await;
    let close = cdp.closed(seconds(5)).await;
    assert!(killed.elapsed() < seconds(2), "{:?}", killed.elapsed());
    if let Some(close) = close {
        assert_eq!(close, (4005, "substrate_down".to_owned()));
    }
    let closed = ended_as(&session, "substrate_down").await;
    assert!(closed["ended_at"].is_string());
    let node = chaser.node.session(&session.id).await.unwrap();
    assert!(!node.billable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_container_is_substrate_down_within_two_seconds() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    substrate_down_after(&chaser, async |container| docker::kill(&container)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_browser_is_substrate_down_within_two_seconds() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    substrate_down_after(&chaser, async |container| {
        let init = docker::pid(&container).unwrap();
        let browser = processes::descendants(init)
            .into_iter()
            .find(|pid| {
                let line = processes::command_line(*pid);
                line.contains("chromium") && !line.contains("--type=")
            })
            .expect("a browser runs in the container");
        processes::kill(browser);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_somebody_renamed_goes_with_its_session() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let container = chaser.container(&session.id).await;
    docker::rename(&container, &format!("{container}-renamed"));
    assert_eq!(session.delete().await.status, 204);
    eventually("it is removed", seconds(10), async || {
        docker::containers_of(&chaser.node_id)
            .is_empty()
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_against_lifetime_in_the_same_instant_has_one_winner() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let races = [-30_i64, -10, 0, 10, 30].map(|offset| {
        let chaser = &chaser;
        async move {
            let id = session_id();
            let session = chaser.node.provision(&id, spec(seconds(25))).await.unwrap();
            let url = format!("ws://{}/sessions/{id}", chaser.cdp);
            let mut cdp = Cdp::open(&url).await;
            let due = SystemTime::try_from(session.expires_at.unwrap()).unwrap();
            let left = due.duration_since(SystemTime::now()).unwrap();
            let early = Duration::from_millis(offset.unsigned_abs());
            sleep(if offset < 0 {
                left - early
            } else {
                left + early
            })
            .await;

            let answer = chaser.node.teardown(&id).await.unwrap();
            let told = answer.session.unwrap();
            let won = if answer.won {
                EndReason::ClientDelete
            } else {
                EndReason::TtlExpired
            };
            assert_eq!(told.end_reason(), won, "{offset} ms");
            let kept = chaser.node.session(&id).await.unwrap();
            assert_eq!(kept.end_reason(), won, "{offset} ms");
            let code = if answer.won { 4001 } else { 4002 };
            let close = cdp.closed(seconds(2)).await;
            assert!(close.is_none_or(|(seen, _)| seen == code), "{offset} ms");
            id
        }
    });
    let ids = join_all(races).await;
    let ends = |events: &[chaser::wire::node::Event], id: &str| {
        events
            .iter()
            .filter(|event| match &event.what {
                Some(What::Session(session)) => session.id == id && session.phase() == Phase::Ended,
                Some(
                    What::SubstrateDown(_)
                    | What::Condition(_)
                    | What::Slot(_)
                    | What::Rerouted(_)
                    | What::Duty(_)
                    | What::Orphan(_),
                )
                | None => false,
            })
            .count()
    };
    let events = chaser
        .node
        .events_until(|events| ids.iter().all(|id| ends(events, id) > 0))
        .await;
    for id in &ids {
        assert_eq!(ends(&events, id), 1, "one end each");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_cannot_start_is_an_error_with_its_cause_and_no_charge() {
    let (lab, _origin) = lab();
    let image = docker::BrokenImage::new("endings");
    let chaser = Setup::on(&lab)
        .set("instance", &format!("image = \"{}\"", image.name))
        .start()
        .await;
    let session = chaser.api.create().await;
    let held = Cdp::connect(&session.cdp_url).await.err().unwrap();
    assert!([503, 410].contains(&held.status), "{held:?}");
    let failed = session.wait_for("error").await;
    assert_eq!(failed["ended_reason"], Value::Null);
    for field in ["code", "message"] {
        assert!(
            !failed["error"][field].as_str().unwrap().is_empty(),
            "{failed}"
        );
    }
    let node = chaser.node.session(&session.id).await.unwrap();
    assert!(!node.billable);
    assert_ne!(node.failure.unwrap().blame, 0, "somebody is to blame");
    eventually("everything made is taken back", seconds(10), async || {
        docker::containers_of(&chaser.node_id)
            .is_empty()
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_sessions_and_says_so_to_their_clients() {
    let (lab, _origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut cdp = Cdp::open(&session.cdp_url).await;
    let client = Library::Patchright.connect(&session.cdp_url).await;
    assert_eq!(chaser.terminate(seconds(30)), Some(0));
    let close = cdp.closed(seconds(1)).await;
    assert_eq!(close, Some((4005, "substrate_down".to_owned())));
    eventually("the client notices", seconds(2), async || {
        client.was_disconnected().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_gives_sessions_the_configured_time_and_a_second_one_takes_it() {
    let (lab, _origin) = lab();
    let mut chaser = Setup::on(&lab)
        .set("node", "drain_deadline = \"5m\"")
        .start()
        .await;
    let session = chaser.api.ready_session().await;
    let mut cdp = Cdp::open(&session.cdp_url).await;
    processes::signal(chaser.pid(), nix::sys::signal::Signal::SIGTERM);
    eventually("no more orders are taken", seconds(5), async || {
        let order = json!({ "ttl_seconds": 600 });
        let refused = chaser.api.post("/v1/sessions", &order).await;
        (refused.status == 503).then_some(())
    })
    .await;
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
    assert_eq!(session.get().await["status"], "ready");
    assert_eq!(chaser.terminate(seconds(30)), Some(0));
    let close = cdp.closed(seconds(1)).await;
    assert_eq!(close, Some((4005, "substrate_down".to_owned())));
    // A drain on the way out is not remembered: the next start is in service.
    chaser.restart().await;
    let last = chaser.api.ready_session().await;
    assert_eq!(last.delete().await.status, 204);
}
