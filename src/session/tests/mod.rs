//! The driver's promises, on a ground that does and fails as it is told.

mod bench;

use std::time::Duration;

use futures::StreamExt;

use self::bench::{Bench, row, until};
use super::*;
use crate::{
    journal::{self, LeaseRow},
    model::{Blame, EndReason, Failure, InstanceId, Phase},
    routes::Taken,
    runtime::wall_now,
};

#[tokio::test]
async fn a_session_is_announced_before_it_is_acknowledged_and_bound_before_it_is_ready() {
    let bench = Bench::new();
    let session = bench.order(Duration::from_secs(600)).await;
    assert!(bench.ground.all_done().contains(&"expect"));
    assert_eq!(bench.journalled(&session).await.phase, Phase::Creating);
    bench.ground.starts(Ok(()));
    let ready = until(&session, Phase::Ready).await;
    assert_eq!(bench.ground.all_done(), ["start", "expect", "bind"]);
    assert!(ready.billable && ready.ready_at.is_some());
    assert_eq!(
        ready.device.as_deref(),
        Some("Android 10 - Chrome 156 (Mobile)")
    );
    assert_eq!(bench.journalled(&session).await.phase, Phase::Ready);
}

#[tokio::test]
async fn a_claim_is_ready_when_it_is_acknowledged_and_nothing_is_started_for_it() {
    let bench = Bench::new();
    let session = bench.claim().await;
    let ready = session.row();
    assert_eq!(ready.phase, Phase::Ready);
    assert!(ready.ready_at.is_some() && ready.device.is_some());
    assert_eq!(bench.ground.all_done(), ["claim"]);
    assert_eq!(bench.journalled(&session).await, *ready);
}

#[tokio::test]
async fn a_claim_of_what_is_no_browser_any_more_becomes_an_ordinary_start() {
    let bench = Bench::new();
    *bench.ground.0.claimable.lock() = false;
    let session = bench.claim().await;
    let made = session.row();
    assert_eq!(made.phase, Phase::Creating);
    assert!(made.device.is_none());
    bench.ground.starts(Ok(()));
    until(&session, Phase::Ready).await;
    let done = ["claim", "instead", "start", "expect", "bind"];
    assert_eq!(bench.ground.all_done(), done);
    let row = bench.journalled(&session).await;
    assert_eq!(row.instance, made.instance, "the one that was made");
}

#[tokio::test]
async fn a_boot_that_was_under_way_is_waited_for_and_no_other_is_begun() {
    let bench = Bench::new();
    let instance = InstanceId::random();
    let session = bench.given(Given::Booting(instance)).await;
    let waits = bench.journalled(&session).await;
    assert_eq!((waits.phase, waits.instance), (Phase::Creating, instance));
    bench.ground.starts(Ok(()));
    let ready = until(&session, Phase::Ready).await;
    assert!(ready.device.is_some());
    assert_eq!(bench.ground.all_done(), ["expect", "bind"]);
}

#[tokio::test]
async fn a_boot_that_was_under_way_and_fails_is_the_end_of_whoever_waits_for_it() {
    let bench = Bench::new();
    let session = bench.given(Given::Booting(InstanceId::random())).await;
    let cause = Failure {
        code: "device_not_booted".to_owned(),
        message: "no boot".to_owned(),
        blame: Blame::Substrate,
    };
    bench.ground.starts(Err(cause.clone()));
    let ended = until(&session, Phase::Ended).await;
    assert_eq!(ended.end_reason, Some(EndReason::Error));
    assert_eq!(ended.failure, Some(cause));
    bench.ground.0.released.notified().await;
}

#[tokio::test]
async fn two_orders_under_one_id_are_one_session() {
    let bench = Bench::new();
    let order = row(Duration::from_secs(600));
    let admit = |_: &[_]| Ok::<_, std::convert::Infallible>(Grant::default());
    let Ok(first) = bench.sessions.order(order.clone(), admit);
    let again = SessionRow {
        instance: InstanceId::random(),
        ..order
    };
    let Ok(second) = bench
        .sessions
        .order(again, |_: &[_]| -> Result<_, std::convert::Infallible> {
            panic!("a repeat takes no address")
        });
    assert_eq!(first.row().instance, second.row().instance);
}

#[tokio::test]
async fn what_won_at_the_relay_is_what_everybody_is_told() {
    let bench = Bench::new();
    let session = bench.ready().await;
    bench.ground.at_relay(EndReason::TtlExpired, 42);
    let outcome = session.end(EndReason::ClientDelete, None).await.unwrap();
    assert!(!outcome.won, "the ttl was first");
    let ending = outcome.row.ending.clone().unwrap();
    assert_eq!(
        (ending.reason, ending.traffic.up),
        (EndReason::TtlExpired, 42)
    );
    let journalled = bench.journalled(&session).await;
    assert_eq!(journalled.asked, Some(EndReason::ClientDelete));
    assert_eq!(journalled.ending, Some(ending));
    assert!(journalled.billable());
}

#[tokio::test]
async fn of_two_deletes_at_once_one_wins_and_both_are_told_the_same() {
    let bench = Bench::new();
    let session = bench.ready().await;
    let delete = || session.end(EndReason::ClientDelete, None);
    let (first, second) = tokio::join!(delete(), delete());
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.won != second.won);
    assert_eq!(first.row.ending, second.row.ending);
    let ends = bench.ground.all_done();
    assert_eq!(ends.iter().filter(|done| **done == "end").count(), 1);
    assert_eq!(ends.iter().filter(|done| **done == "release").count(), 1);
}

#[tokio::test]
async fn without_a_relay_the_browser_is_dead_before_the_bytes_are_final() {
    let bench = Bench::new();
    let session = bench.ready().await;
    bench.ground.up_bytes(100);
    *bench.ground.0.relay_up.lock() = false;
    let outcome = session.end(EndReason::ClientDelete, None).await.unwrap();
    assert!(outcome.won);
    assert_eq!(outcome.row.traffic.up, 101, "read after the kill");
    let done = bench.ground.all_done();
    let at = |what| done.iter().position(|done| *done == what).unwrap();
    assert!(at("kill") < at("release"));
}

#[tokio::test]
async fn bytes_that_were_shown_are_in_the_end_although_meter_and_relay_are_gone() {
    let bench = Bench::new();
    let session = bench.ready().await;
    bench.ground.up_bytes(900);
    assert_eq!(bench.sessions.live(&session.row()).traffic.up, 900);
    *bench.ground.0.relay_up.lock() = false;
    *bench.ground.0.gone.lock() = true;
    assert_eq!(bench.sessions.live(&session.row()).traffic.up, 900);
    let outcome = session.end(EndReason::ClientDelete, None).await.unwrap();
    assert_eq!(outcome.row.traffic.up, 900);
    assert_eq!(bench.journalled(&session).await.traffic.up, 900);
}

#[tokio::test]
async fn an_unasked_end_is_journalled_before_it_is_acknowledged() {
    let bench = Bench::new();
    let session = bench.ready().await;
    let ending = bench.ground.at_relay(EndReason::SubstrateDown, 7);
    assert!(session.cut(ending).await);
    let row = bench.journalled(&session).await;
    assert_eq!(
        row.ending.as_ref().unwrap().reason,
        EndReason::SubstrateDown
    );
    assert!(!row.billable(), "our fault is never charged");
    assert_eq!(row.failure.unwrap().code, "substrate_down");
    let mut events = Box::pin(bench.hub.watch(0));
    let mut told = Vec::new();
    for _ in 0..4 {
        if let Some(Item::Event(event)) = events.next().await {
            told.push(match event.what {
                What::Session(session) => session.phase.as_str(),
                What::SubstrateDown { .. } => "substrate_down",
                What::Condition(_) => "condition",
                What::Orphan { .. } => "orphan",
                What::Slot { .. } => "slot",
                What::Rerouted { .. } => "rerouted",
                What::Duty { .. } => "duty",
            });
        }
    }
    assert_eq!(told, ["creating", "ready", "substrate_down", "ended"]);
}

#[tokio::test]
async fn a_session_is_moved_in_the_journal_also_where_no_relay_hears_of_it() {
    let bench = Bench::new();
    let session = bench.ready().await;
    let to = |route: &str| Taken {
        lease: LeaseRow {
            instance: session.row().instance,
            route: route.to_owned(),
            released: None,
        },
        exit_ip: Some([192, 0, 2, 9].into()),
        region: Some("de".to_owned()),
    };
    for (relay_up, route) in [(true, "b"), (false, "c")] {
        *bench.ground.0.relay_up.lock() = relay_up;
        let mut public = session.watch();
        session.reroute(to(route), "lost".to_owned()).await;
        let moved = |now: &Snapshot| now.route.as_deref() == Some(route);
        let now = public.wait_for(moved).await.unwrap().clone();
        assert_eq!(now.egress_ip, Some([192, 0, 2, 9].into()));
        let row = bench.journalled(&session).await;
        assert_eq!(
            (row.held_route().as_deref(), row.phase),
            (Some(route), Phase::Ready)
        );
    }
    // Once is enough, and what ends is not moved.
    session.reroute(to("c"), "again".to_owned()).await;
    *bench.ground.0.relay_up.lock() = true;
    session.end(EndReason::ClientDelete, None).await.unwrap();
    session.reroute(to("d"), "late".to_owned()).await;
    let done = bench.ground.all_done();
    assert_eq!(done.iter().filter(|what| **what == "reroute").count(), 2);
    let told = bench.hub.watch(0).take(6).collect::<Vec<_>>().await;
    let moves = told.iter().filter(|item| {
        matches!(item, Item::Event(Event { what: What::Rerouted { from, to, .. }, .. })
            if (&**from, &**to) == ("", "b") || (&**from, &**to) == ("b", "c"))
    });
    assert_eq!(moves.count(), 2);
}

#[tokio::test]
async fn a_failed_start_is_an_error_with_its_cause_and_never_charged() {
    let bench = Bench::new();
    let session = bench.order(Duration::from_secs(600)).await;
    let cause = Failure {
        code: "image_missing".to_owned(),
        message: "no image".to_owned(),
        blame: Blame::Host,
    };
    bench.ground.starts(Err(cause.clone()));
    let ended = until(&session, Phase::Ended).await;
    assert_eq!(ended.end_reason, Some(EndReason::Error));
    assert_eq!(ended.failure, Some(cause));
    assert!(!ended.billable && ended.device.is_none());
    let done = bench.ground.all_done();
    assert!(!done.contains(&"kill"), "nothing was bound: {done:?}");
}

#[tokio::test]
async fn the_ttl_counts_while_the_session_is_created() {
    let bench = Bench::new();
    let session = bench.order(Duration::from_millis(300)).await;
    let ended = until(&session, Phase::Ended).await;
    assert_eq!(ended.end_reason, Some(EndReason::TtlExpired));
    assert!(!ended.billable, "it was never ready");
}

#[tokio::test]
async fn a_delete_during_creation_does_not_wait_for_the_browser() {
    let bench = Bench::new();
    let session = bench.order(Duration::from_secs(600)).await;
    let outcome = session.end(EndReason::ClientDelete, None).await.unwrap();
    assert!(outcome.won);
    assert!(outcome.row.ready_at.is_none());
    bench.ground.0.released.notified().await;
}

#[tokio::test]
async fn a_restart_resumes_each_state_where_it_was() {
    let bench = Bench::new();
    let mut closing = row(Duration::from_secs(600));
    closing.phase = Phase::Closing;
    closing.asked = Some(EndReason::ClientDelete);
    closing.ready_at = Some(wall_now());
    let session = bench.sessions.resume(closing);
    let ended = until(&session, Phase::Ended).await;
    assert_eq!(ended.end_reason, Some(EndReason::ClientDelete));

    let mut ready = row(Duration::from_secs(600));
    ready.phase = Phase::Ready;
    ready.ready_at = Some(wall_now());
    let before = bench.ground.all_done().len();
    let session = bench.sessions.resume(ready);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(session.row().phase, Phase::Ready);
    assert_eq!(bench.ground.all_done().len(), before, "nothing is touched");
}

#[tokio::test]
async fn samples_survive_a_crash() {
    let bench = Bench::new();
    let session = bench.ready().await;
    bench.ground.up_bytes(5_000);
    let mut last = std::collections::HashMap::new();
    bench.sessions.fold(&mut last).await.unwrap();
    assert_eq!(bench.journalled(&session).await.traffic.up, 5_000);
    assert_eq!(bench.sessions.live(&session.row()).traffic.up, 5_000);
    bench.tasks.drain(Duration::from_secs(5)).await.unwrap();
    let (_journal, known) = journal::open(&bench.dir.path().join("node.db")).unwrap();
    assert_eq!(known.sessions[0].traffic.up, 5_000);
}
