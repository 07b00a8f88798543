//! The driver's promises, on a ground that does and fails as it is told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::*;
use crate::{
    instance::{InstanceError, Phone},
    journal::{self, InstanceRow, Journal},
    model::{
        Blame, EndReason, Failure, InstanceId, Phase, SessionId, SessionSpec, Substrate, Traffic,
    },
    relay::client::{Bind, RelayError},
    runtime::{Tasks, boot_now, wall_now},
};

/// What the fake relay and the fake instance do.
#[derive(Debug, Clone)]
struct Fake(Arc<State>);

#[derive(Debug)]
struct State {
    /// How the start comes out; `None` while it is going on.
    start: watch::Sender<Option<Result<(), Failure>>>,
    /// The relay's compare-and-set.
    ended: Mutex<Option<Ending>>,
    relay_up: Mutex<bool>,
    meter: Mutex<Traffic>,
    done: Mutex<Vec<&'static str>>,
    released: Notify,
}

impl Fake {
    fn new() -> Self {
        Self(Arc::new(State {
            start: watch::Sender::new(None),
            ended: Mutex::new(None),
            relay_up: Mutex::new(true),
            meter: Mutex::new(Traffic::default()),
            done: Mutex::default(),
            released: Notify::new(),
        }))
    }

    fn did(&self, what: &'static str) {
        self.0.done.lock().push(what);
    }

    fn all_done(&self) -> Vec<&'static str> {
        self.0.done.lock().clone()
    }

    fn starts(&self, outcome: Result<(), Failure>) {
        self.0.start.send_replace(Some(outcome));
    }

    fn up_bytes(&self, up: u64) {
        self.0.meter.lock().up = up;
    }

    fn at_relay(&self, reason: EndReason, up: u64) -> Ending {
        let ending = Ending {
            reason,
            at: wall_now(),
            traffic: Traffic {
                up,
                ..Traffic::default()
            },
            detail: None,
        };
        self.0.ended.lock().get_or_insert(ending).clone()
    }
}

impl Ground for Fake {
    async fn expect(&self, _: &SessionRow) -> Result<(), RelayError> {
        self.did("expect");
        Ok(())
    }

    fn start(&self, _: InstanceRow) {
        self.did("start");
    }

    async fn parked(&self, _: InstanceId) -> Result<Phone, Option<Failure>> {
        let mut start = self.0.start.subscribe();
        let outcome = start.wait_for(Option::is_some).await.map_err(|_| None)?;
        match outcome.clone() {
            Some(Err(failure)) => Err(Some(failure)),
            _ => Ok(Phone {
                device: "Android 10 - Chrome 156 (Mobile)".to_owned(),
                version: "156.0.1.2".to_owned(),
            }),
        }
    }

    async fn bind(&self, _: InstanceId, _: Bind) -> Result<(), InstanceError> {
        self.did("bind");
        Ok(())
    }

    async fn end(
        &self,
        _: &SessionId,
        reason: EndReason,
        _: Option<&str>,
    ) -> Result<Ending, RelayError> {
        if !*self.0.relay_up.lock() {
            return Err(RelayError::Unreachable("killed".to_owned()));
        }
        self.did("end");
        let up = self.0.meter.lock().up;
        Ok(self.at_relay(reason, up))
    }

    async fn kill(&self, _: InstanceId) -> Result<(), InstanceError> {
        self.did("kill");
        // What was still under way is counted before the init is dead.
        self.0.meter.lock().up += 1;
        Ok(())
    }

    fn sample(&self, _: InstanceId) -> Option<Traffic> {
        Some(*self.0.meter.lock())
    }

    async fn release(&self, _: InstanceId, _: Option<Failure>) {
        self.did("release");
        self.0.released.notify_one();
    }
}

/// A journal, a registry on a fake, and one order in it.
struct Bench {
    ground: Fake,
    journal: Journal,
    sessions: Sessions<Fake>,
    hub: Hub,
    tasks: Tasks,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (journal, known) = journal::open(&dir.path().join("node.db")).unwrap();
        let (ground, hub, tasks) = (Fake::new(), Hub::new(known.epoch), Tasks::default());
        let sessions = Sessions::new(ground.clone(), journal.clone(), hub.clone(), &tasks);
        Self {
            ground,
            journal,
            sessions,
            hub,
            tasks,
            dir,
        }
    }

    async fn order(&self, ttl: Duration) -> Session {
        let admit = |_| Ok::<_, std::convert::Infallible>(None);
        let Ok(session) = self.sessions.order(row(ttl), admit);
        session.accepted().await.unwrap();
        session
    }

    async fn ready(&self) -> Session {
        let session = self.order(Duration::from_secs(600)).await;
        self.ground.starts(Ok(()));
        until(&session, Phase::Ready).await;
        session
    }

    async fn journalled(&self, session: &Session) -> SessionRow {
        let id = session.row().id.clone();
        self.journal.find(&id).await.unwrap().unwrap()
    }
}

fn row(ttl: Duration) -> SessionRow {
    let now = wall_now();
    SessionRow {
        id: SessionId::random(),
        spec: SessionSpec {
            substrate: Substrate::Chromium,
            profile: "default".to_owned(),
            ttl,
            idle_timeout: Duration::from_secs(300),
            labels: BTreeMap::new(),
            cdp_token: None,
        },
        phase: Phase::Creating,
        asked: None,
        ending: None,
        failure: None,
        instance: InstanceId::random(),
        egress: None,
        device: None,
        browser_version: None,
        traffic: Traffic::default(),
        created_at: now,
        ready_at: None,
        expires_at: now + ttl,
        deadline: boot_now().unwrap().after(ttl),
    }
}

async fn until(session: &Session, phase: Phase) -> Snapshot {
    let mut view = session.watch();
    let seen = view.wait_for(|session| session.phase >= phase);
    let seen = tokio::time::timeout(Duration::from_secs(10), seen).await;
    seen.expect("in time").unwrap().clone()
}

#[tokio::test]
async fn a_session_is_announced_before_it_is_acknowledged_and_bound_before_it_is_ready() {
    let bench = Bench::new();
    let session = bench.order(Duration::from_secs(600)).await;
    assert_eq!(bench.ground.all_done()[0], "expect");
    assert_eq!(bench.journalled(&session).await.phase, Phase::Creating);
    bench.ground.starts(Ok(()));
    let ready = until(&session, Phase::Ready).await;
    assert_eq!(bench.ground.all_done(), ["expect", "start", "bind"]);
    assert!(ready.billable && ready.ready_at.is_some());
    assert_eq!(
        ready.device.as_deref(),
        Some("Android 10 - Chrome 156 (Mobile)")
    );
    assert_eq!(bench.journalled(&session).await.phase, Phase::Ready);
}

#[tokio::test]
async fn two_orders_under_one_id_are_one_session() {
    let bench = Bench::new();
    let order = row(Duration::from_secs(600));
    let admit = |_| Ok::<_, std::convert::Infallible>(None);
    let Ok(first) = bench.sessions.order(order.clone(), admit);
    let again = SessionRow {
        instance: InstanceId::random(),
        ..order
    };
    let Ok(second) = bench
        .sessions
        .order(again, |_| -> Result<_, std::convert::Infallible> {
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
            });
        }
    }
    assert_eq!(told, ["creating", "ready", "substrate_down", "ended"]);
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
