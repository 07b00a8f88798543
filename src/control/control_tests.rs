//! Records and node kept together, over a fake node.

use std::time::Duration;

use assert_matches::assert_matches;

use super::{
    fake::{Bench, ended, timestamp},
    *,
};
use crate::{model::EndReason, model::SessionId, wire::node as pb};

async fn until<T>(mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..200 {
        if let Some(found) = probe().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not come true within 4 s")
}

async fn create(bench: &Bench) -> Record {
    let order = bench.control.order(None, None).unwrap();
    bench
        .control
        .create(Workspace::standard(), order)
        .await
        .unwrap()
}

/// What the record says, without asking the node.
async fn status(bench: &Bench, id: &SessionId) -> Status {
    let record = bench.control.store().record(id).await.unwrap();
    record.unwrap().status
}

#[tokio::test]
async fn ends_that_the_node_tells_reach_the_record() {
    let bench = Bench::start(Config::default());
    let record = create(&bench).await;
    // The follower may not be connected yet: then the comparison at its start does it.
    bench.node.change(record.id.as_str(), |session| {
        session.ready_at = timestamp(1_700_000_000);
        ended(session, pb::EndReason::TtlExpired);
    });
    until(async || {
        let now = status(&bench, &record.id).await;
        (now == Status::Closed(EndReason::TtlExpired)).then_some(())
    })
    .await;
    bench.tasks.drain(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn what_happened_while_the_node_was_away_is_found_by_comparing() {
    let bench = Bench::start(Config::default());
    let record = create(&bench).await;
    let _quiet = bench
        .node
        .sessions
        .lock()
        .get_mut(record.id.as_str())
        .map(|session| {
            ended(session, pb::EndReason::SubstrateDown);
        });
    let deleted = bench
        .control
        .delete(&Workspace::standard(), &record.id)
        .await;
    assert_matches!(deleted, Err(ControlError::SessionNotOpen));
    let now = status(&bench, &record.id).await;
    assert_eq!(now, Status::Closed(EndReason::SubstrateDown));
}

#[tokio::test]
async fn an_order_that_the_node_cannot_take_is_an_error_and_answered_as_no_capacity() {
    let bench = Bench::start(Config::default());
    *bench.node.refusal.lock() = Some(tonic::Status::internal("journal is full"));
    let order = bench.control.order(None, None).unwrap();
    let refused = bench.control.create(Workspace::standard(), order).await;
    assert_matches!(refused, Err(ControlError::Internal(_)));
    let page = bench
        .control
        .list(&Workspace::standard(), 10, None)
        .await
        .unwrap();
    assert_eq!(page.records[0].status, Status::Error);
    let failure = page.records[0].failure.as_ref().unwrap();
    assert_eq!(failure.code, "node_unavailable");
}

#[tokio::test]
async fn a_live_session_is_answered_from_its_record_while_the_node_is_silent() {
    let bench = Bench::start(Config::default());
    let record = create(&bench).await;
    bench.node.change(record.id.as_str(), |session| {
        session.traffic = Some(pb::Traffic {
            up: 9,
            ..pb::Traffic::default()
        });
    });
    let owner = Workspace::standard();
    assert_eq!(
        bench
            .control
            .get(&owner, &record.id)
            .await
            .unwrap()
            .0
            .traffic
            .up,
        9
    );
    bench.tasks.drain(Duration::from_secs(5)).await.unwrap();
    std::fs::remove_file(bench.dir.path().join("node.sock")).unwrap();
    let (shown, _live) = bench.control.get(&owner, &record.id).await.unwrap();
    assert_eq!((shown.status, shown.traffic.up), (Status::Creating, 9));
}

#[tokio::test]
async fn what_is_shown_is_of_one_moment() {
    let bench = Bench::start(Config::default());
    let record = create(&bench).await;
    let id = record.id.as_str();
    let creating = bench.node.sessions.lock().get(id).cloned();
    bench.node.change(id, |session| {
        session.ready_at = timestamp(1_700_000_000);
        session.set_phase(pb::Phase::Ready);
        session.capabilities = Some(pb::Capabilities::default());
    });
    let owner = Workspace::standard();
    until(async || {
        let (shown, _live) = bench.control.get(&owner, &record.id).await.unwrap();
        (shown.status == Status::Ready).then_some(())
    })
    .await;
    // An answer that was on its way while the news came by another.
    *bench.node.late.lock() = creating;
    let (shown, live) = bench.control.get(&owner, &record.id).await.unwrap();
    assert_eq!(shown.status, Status::Ready);
    assert!(live.capabilities.is_some(), "of a session that is ready");
}

#[tokio::test]
async fn what_runs_although_its_order_was_given_up_is_torn_down() {
    let bench = Bench::start(Config::default());
    let record = create(&bench).await;
    let given_up = order::lost(&record, None);
    bench.control.observe(given_up).await.unwrap();
    // A second follower compares at its start, as one does that reconnects.
    follow::start(&bench.control, &bench.tasks);
    until(async || {
        let sessions = bench.node.sessions.lock();
        let session = sessions.get(record.id.as_str()).unwrap();
        (session.end_reason() == pb::EndReason::AbandonedOrphan).then_some(())
    })
    .await;
}
