//! Docker itself stops, for a moment and for good, with and without live-restore: a second engine of
//! the tests' own, so that no other test is harmed.

use chaser::wire::node::{ConditionLevel, NodeState};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::harness::{Cdp, Chaser, Lab, OwnDocker, Setup, eventually, lab, processes, seconds};

async fn chaser_on(lab: &Lab, own: &OwnDocker) -> Chaser {
    Setup::on(lab)
        .set("node", &own.line())
        .set("host", "docker_degraded = \"1s\"")
        .set("host", "docker_critical = \"12s\"")
        .set("host", "recovery = \"1s\"")
        .start()
        .await
}

async fn takes_orders(chaser: &Chaser) {
    eventually("sessions are taken", seconds(60), async || {
        let status = chaser.node.status().await;
        let open = status.state() == NodeState::Ready && status.admission_stopped.is_empty();
        open.then_some(())
    })
    .await;
}

async fn nothing_is_left(own: &OwnDocker) {
    eventually("every container is removed", seconds(60), async || {
        own.containers().is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_live_restore_a_docker_that_is_away_for_five_seconds_is_not_noticed() {
    let mut own = OwnDocker::start(true);
    let (lab, _origin) = lab();
    let chaser = chaser_on(&lab, &own).await;
    let sessions = [
        chaser.api.ready_session().await,
        chaser.api.ready_session().await,
    ];
    let inits: Vec<u32> = own.containers().iter().map(|name| own.pid(name)).collect();
    let mut cdp = Cdp::open(&sessions[0].cdp_url).await;

    let away = Instant::now();
    own.stop();
    eventually("it is noticed", seconds(5), async || {
        let status = chaser.node.status().await;
        (!status.admission_stopped.is_empty()).then_some(())
    })
    .await;
    let refused = chaser.api.post("/v1/sessions", &json!({})).await;
    refused.refused(503, "no_capacity");
    sleep_until(away + seconds(5)).await;
    // The client's connection was there all the while, and is.
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
    own.go_on();
    takes_orders(&chaser).await;
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
    for session in &sessions {
        assert_eq!(session.get().await["status"], "ready");
    }
    assert!(inits.iter().all(|pid| processes::lives(*pid)));

    let next = chaser.api.ready_session().await;
    for session in sessions.iter().chain([&next]) {
        assert_eq!(session.delete().await.status.as_u16(), 204);
    }
    nothing_is_left(&own).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_live_restore_a_docker_that_restarts_takes_its_sessions_and_leaves_nothing() {
    let mut own = OwnDocker::start(false);
    let (lab, _origin) = lab();
    let chaser = chaser_on(&lab, &own).await;
    let session = chaser.api.ready_session().await;
    own.stop();
    let ended = session.wait_for("closed").await;
    assert_eq!(ended["ended_reason"], "substrate_down", "{ended}");
    assert!(!chaser.node.session(&session.id).await.unwrap().billable);
    own.go_on();
    takes_orders(&chaser).await;
    nothing_is_left(&own).await;
    let next = chaser.api.ready_session().await;
    assert_eq!(next.delete().await.status.as_u16(), 204);
    nothing_is_left(&own).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_that_stays_away_takes_every_session_and_what_it_left_goes_when_it_is_back() {
    let mut own = OwnDocker::start(true);
    let (lab, _origin) = lab();
    let chaser = chaser_on(&lab, &own).await;
    let session = chaser.api.ready_session().await;
    let init = own.pid(&own.containers()[0]);
    own.stop();
    let ended = session.wait_for("closed").await;
    assert_eq!(ended["ended_reason"], "substrate_down", "{ended}");
    let status = chaser.node.status().await;
    let docker = status.conditions.iter().find(|one| one.name == "docker");
    assert_eq!(docker.unwrap().level(), ConditionLevel::Critical);
    // Nobody can remove the container now; it has nothing to send with any more.
    assert!(processes::lives(init));
    own.go_on();
    nothing_is_left(&own).await;
    assert!(!processes::lives(init));
    takes_orders(&chaser).await;
}

/// As one that is killed over a container's start may: its processes run on and Docker knows nothing of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_docker_forgot_serves_on_and_is_gone_with_its_session() {
    let mut own = OwnDocker::start(true);
    let (lab, _origin) = lab();
    let mut chaser = Setup::on(&lab)
        .set("node", &own.line())
        .set("host", "recovery = \"1s\"")
        .set("node", "orphan_grace = \"2s\"")
        .start()
        .await;
    let session = chaser.api.ready_session().await;
    let after_a_restart = chaser.api.ready_session().await;
    let inits = processes::inits_of(&chaser.node_id);
    assert_eq!(inits.len(), 2);
    let mut cdp = Cdp::open(&session.cdp_url).await;

    own.stop();
    own.forget_all();
    own.go_on();
    takes_orders(&chaser).await;
    assert_eq!(own.containers(), Vec::<String>::new());
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
    assert_eq!(session.delete().await.status.as_u16(), 204);
    let one_left = async || (processes::inits_of(&chaser.node_id).len() == 1).then_some(());
    eventually("what ran of it is killed", seconds(20), one_left).await;

    // Nobody can be adopted whom Docker does not know: the next agent ends it, and says why.
    chaser.sigkill();
    chaser.restart().await;
    let ended = after_a_restart.wait_for("closed").await;
    assert_eq!(ended["ended_reason"], "substrate_down", "{ended}");
    let none_left = async || {
        processes::inits_of(&chaser.node_id)
            .is_empty()
            .then_some(())
    };
    eventually("what ran of the other is killed", seconds(20), none_left).await;
    let no_shim = async || own.shims().is_empty().then_some(());
    eventually("nothing holds them any more", seconds(20), no_shim).await;
}
