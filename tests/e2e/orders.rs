//! The node's gRPC interface: orders that may be repeated, events that are numbered.

use chaser::wire::node::{EndReason, Phase, event::What};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::harness::{Chaser, lab, seconds, session_id, spec};

#[tokio::test(flavor = "multi_thread")]
async fn provision_is_idempotent_and_another_spec_under_the_same_id_is_refused() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let id = session_id();
    let order = || chaser.node.provision(&id, spec(seconds(600)));
    let (one, two) = tokio::join!(order(), order());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.phase(), Phase::Ready);
    assert_eq!(
        (one.created_at, one.ready_at),
        (two.created_at, two.ready_at)
    );
    assert_eq!(
        crate::harness::docker::containers_of(&chaser.node_id).len(),
        1
    );

    let other = chaser.node.provision(&id, spec(seconds(601))).await;
    assert_eq!(other.unwrap_err().code(), Code::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn teardown_is_idempotent_and_the_first_reason_stays() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let id = session_id();
    chaser
        .node
        .provision(&id, spec(seconds(600)))
        .await
        .unwrap();
    let first = chaser.node.teardown(&id).await.unwrap();
    let again = chaser.node.teardown(&id).await.unwrap();
    assert!(first.won && !again.won);
    let (first, again) = (first.session.unwrap(), again.session.unwrap());
    assert_eq!(first.end_reason(), EndReason::ClientDelete);
    assert_eq!(first.ended_at, again.ended_at);
    // An order that comes late does not wake the dead.
    let late = chaser
        .node
        .provision(&id, spec(seconds(600)))
        .await
        .unwrap();
    assert_eq!(late.phase(), Phase::Ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_cannot_know_or_do_is_refused_by_its_code() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let code = |refusal: tonic::Status| refusal.code();
    let unknown = session_id();
    assert_eq!(
        chaser.node.session(&unknown).await.map_err(code).err(),
        Some(Code::NotFound)
    );
    assert_eq!(
        chaser.node.teardown(&unknown).await.map_err(code).err(),
        Some(Code::NotFound)
    );
    for bad in ["", "sess_1", "nonsense"] {
        let refused = chaser.node.provision(bad, spec(seconds(60))).await;
        assert_eq!(
            refused.map_err(code).err(),
            Some(Code::InvalidArgument),
            "{bad}"
        );
    }
    let mut odd = spec(seconds(60));
    odd.profile = "nokia_3310".to_owned();
    let refused = chaser.node.provision(&session_id(), odd).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("nokia_3310"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_numbered_without_a_gap() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let id = session_id();
    chaser
        .node
        .provision(&id, spec(seconds(600)))
        .await
        .unwrap();
    chaser.node.teardown(&id).await.unwrap();
    let phases = |events: &[chaser::wire::node::Event]| -> Vec<Phase> {
        events
            .iter()
            .filter_map(|event| match &event.what {
                Some(What::Session(session)) if session.id == id => Some(session.phase()),
                Some(
                    What::Session(_)
                    | What::SubstrateDown(_)
                    | What::Condition(_)
                    | What::Slot(_)
                    | What::Rerouted(_)
                    | What::Duty(_)
                    | What::Orphan(_),
                )
                | None => None,
            })
            .collect()
    };
    let events = chaser
        .node
        .events_until(|events| phases(events).contains(&Phase::Ended))
        .await;
    assert!(events.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
    let seen = phases(&events);
    assert!(seen.is_sorted(), "phases only go forward: {seen:?}");
    assert!(seen.contains(&Phase::Ready));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_node_status_answer() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let channel = chaser.node.channel().await;
    let health = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await;
    assert_eq!(
        health.unwrap().into_inner().status(),
        ServingStatus::Serving
    );
    let status = chaser.node.status().await;
    assert_eq!(status.relay_pid, chaser.relay_pid());
    assert_eq!(status.egress_addresses.len(), chaser.addresses.len());
    assert!(status.egress_addresses.iter().all(|address| address.usable));
    assert_eq!(status.max_sessions, 40);
}
