//! What an agent finds when it starts, line by line of its table.

use std::time::SystemTime;

use chaser::wire::node::{EndReason, Phase};
use serde_json::json;
use tokio::time::sleep;

use crate::harness::{
    Cdp, Chaser, Library, docker, eventually, lab, processes, seconds, session_id, spec,
};

/// Agent and relay die together, as with their host but that the containers live on.
fn kill_both(chaser: &mut Chaser) {
    let relay = chaser.relay_pid();
    chaser.sigkill();
    processes::kill(relay);
}

/// The session as the node tells it once it is over.
async fn ended(chaser: &Chaser, id: &str) -> chaser::wire::node::Session {
    eventually("the session is over", seconds(20), async || {
        let session = chaser.node.session(id).await.unwrap();
        (session.phase() == Phase::Ended).then_some(session)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_agent_and_relay_died_is_attached_again() {
    let (lab, origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/before")).await;
    let container = chaser.container(&session.id).await;
    let init = docker::pid(&container);
    let before = session.get().await["bytes_down"].as_u64().unwrap();

    kill_both(&mut chaser);
    chaser.restart().await;

    assert_eq!(docker::pid(&container), init, "the container is the same");
    let mut again = Library::Patchright.connect(&session.cdp_url).await;
    assert_eq!(again.evaluate("location.pathname").await, "/before");
    again.goto(&origin.http("/after")).await;
    eventually("the meter goes on", seconds(5), async || {
        (session.get().await["bytes_down"].as_u64().unwrap() > before).then_some(())
    })
    .await;
    assert_eq!(session.delete().await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lifetime_that_ran_out_while_nobody_ran_ended_when_it_was_due() {
    let (lab, _origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let id = session_id();
    let session = chaser.node.provision(&id, spec(seconds(12))).await.unwrap();
    let due = SystemTime::try_from(session.expires_at.unwrap()).unwrap();
    kill_both(&mut chaser);
    sleep(due.duration_since(SystemTime::now()).unwrap() + seconds(1)).await;
    chaser.restart().await;
    let over = ended(&chaser, &id).await;
    assert_eq!(over.end_reason(), EndReason::TtlExpired);
    assert_eq!(SystemTime::try_from(over.ended_at.unwrap()).unwrap(), due);
    assert!(over.billable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_went_while_nobody_ran_took_its_session_along() {
    let (lab, _origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let container = chaser.container(&session.id).await;
    kill_both(&mut chaser);
    docker::kill(&container);
    chaser.restart().await;
    let over = ended(&chaser, &session.id).await;
    assert_eq!(over.end_reason(), EndReason::SubstrateDown);
    assert!(!over.billable);
    eventually("nothing of it is left", seconds(10), async || {
        docker::containers_of(&chaser.node_id)
            .is_empty()
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_container_is_woken_and_its_session_goes_on() {
    let (lab, _origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let container = chaser.container(&session.id).await;
    chaser.sigkill();
    docker::pause(&container);
    chaser.restart().await;
    assert_eq!(docker::inspect(&container, "{{.State.Paused}}"), "false");
    let mut cdp = Cdp::open(&session.cdp_url).await;
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
    assert_eq!(session.get().await["status"], "ready");
}

/// The next agent finds a relay that holds the sockets already and does not serve anybody yet.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_while_a_new_relay_attaches_a_slow_browser_costs_no_session() {
    let (lab, origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/before")).await;
    let before = session.get().await["bytes_down"].as_u64().unwrap();
    let container = chaser.container(&session.id).await;
    docker::pause(&container);
    let relay = chaser.relay_pid();
    processes::kill(relay);
    eventually("a new relay has its sockets", seconds(20), async || {
        let pid = chaser.relay_after(relay)?;
        (processes::foreign_sockets(pid) > 0).then_some(())
    })
    .await;
    chaser.sigkill();
    chaser.restart().await;
    let mut again = Library::Patchright.connect(&session.cdp_url).await;
    again.goto(&origin.http("/after")).await;
    eventually("the meter goes on", seconds(5), async || {
        (session.get().await["bytes_down"].as_u64().unwrap() > before).then_some(())
    })
    .await;
    assert_eq!(session.delete().await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_not_finished_is_an_error_and_leaves_nothing() {
    let (lab, _origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let session = chaser.api.create().await;
    chaser.sigkill();
    chaser.restart().await;
    let failed = session.wait_for("error").await;
    assert_eq!(failed["error"]["code"], "agent_restarted");
    eventually("nothing of it is left", seconds(20), async || {
        docker::containers_of(&chaser.node_id)
            .is_empty()
            .then_some(())
    })
    .await;
}
