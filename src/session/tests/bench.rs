//! A ground that does and fails as it is told, and a registry that stands on it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::super::*;
use crate::{
    instance::{InstanceError, Phone},
    journal::{self, InstanceRow, Journal, JournalError},
    model::{
        EgressWish, EndReason, Failure, InstanceId, Phase, Progress, SessionId, SessionSpec,
        Substrate, Traffic, Why,
    },
    relay::{
        Way,
        client::{Bind, RelayError},
    },
    routes::Lost,
    runtime::{Steps, Tasks, boot_now, wall_now},
};

/// What the fake relay and the fake instance do.
#[derive(Debug, Clone)]
pub(super) struct Fake(pub(super) Arc<State>);

#[derive(Debug)]
pub(super) struct State {
    /// How the start comes out; `None` while it is going on.
    pub(super) start: watch::Sender<Option<Result<(), Failure>>>,
    /// The relay's compare-and-set.
    pub(super) ended: Mutex<Option<Ending>>,
    pub(super) relay_up: Mutex<bool>,
    pub(super) claimable: Mutex<bool>,
    pub(super) meter: Mutex<Traffic>,
    /// Whether the meter goes with its instance.
    pub(super) gone: Mutex<bool>,
    pub(super) done: Mutex<Vec<&'static str>>,
    pub(super) released: Notify,
    pub(super) steps: Steps,
}

impl Fake {
    pub(super) fn new() -> Self {
        Self(Arc::new(State {
            start: watch::Sender::new(None),
            ended: Mutex::new(None),
            relay_up: Mutex::new(true),
            claimable: Mutex::new(true),
            meter: Mutex::new(Traffic::default()),
            gone: Mutex::new(false),
            done: Mutex::default(),
            released: Notify::new(),
            steps: Steps::default(),
        }))
    }

    fn did(&self, what: &'static str) {
        self.0.done.lock().push(what);
    }

    pub(super) fn all_done(&self) -> Vec<&'static str> {
        self.0.done.lock().clone()
    }

    pub(super) fn starts(&self, outcome: Result<(), Failure>) {
        self.0.start.send_replace(Some(outcome));
    }

    pub(super) fn up_bytes(&self, up: u64) {
        self.0.meter.lock().up = up;
    }

    pub(super) fn at_relay(&self, reason: EndReason, up: u64) -> Ending {
        let ending = Ending {
            reason,
            at: wall_now(),
            traffic: Traffic {
                up,
                ..Traffic::default()
            },
            detail: None,
            blame: None,
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

    fn way(&self, _: &SessionRow) -> Result<Way, Lost> {
        Ok(Way::default())
    }

    async fn parked(&self, _: InstanceId) -> Result<Phone, Option<Failure>> {
        let mut start = self.0.start.subscribe();
        let outcome = start.wait_for(Option::is_some).await.map_err(|_| None)?;
        match outcome.clone() {
            Some(Err(failure)) => Err(Some(failure)),
            _ => Ok(phone()),
        }
    }

    async fn progress(&self, _: InstanceId, _: Option<&Progress>) -> Option<Progress> {
        std::future::pending().await
    }

    async fn bind(&self, _: InstanceId, _: Bind) -> Result<(), InstanceError> {
        self.did("bind");
        Ok(())
    }

    async fn claim(&self, _: InstanceId, _: Bind) -> Result<(), InstanceError> {
        self.did("claim");
        if *self.0.claimable.lock() {
            Ok(())
        } else {
            Err(InstanceError::NotHeld)
        }
    }

    async fn reroute(&self, _: InstanceId, bind: Bind) -> Result<(), InstanceError> {
        assert!(bind.reroute);
        self.did("reroute");
        if *self.0.relay_up.lock() {
            Ok(())
        } else {
            Err(InstanceError::NotHeld)
        }
    }

    async fn instead(&self, _: InstanceId, _: InstanceId) -> Result<(), JournalError> {
        self.did("instead");
        Ok(())
    }

    async fn end(&self, _: &SessionId, reason: EndReason, _: &Why) -> Result<Ending, RelayError> {
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
        (!*self.0.gone.lock()).then(|| *self.0.meter.lock())
    }

    fn steps(&self) -> &Steps {
        &self.0.steps
    }

    async fn release(&self, _: InstanceId, _: Option<Failure>) {
        self.did("release");
        self.0.released.notify_one();
    }
}

/// A journal, a registry on a fake, and one order in it.
pub(super) struct Bench {
    pub(super) ground: Fake,
    pub(super) journal: Journal,
    pub(super) sessions: Sessions<Fake>,
    pub(super) hub: Hub,
    pub(super) tasks: Tasks,
    pub(super) dir: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
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

    pub(super) async fn order(&self, ttl: Duration) -> Session {
        let admit = |_: &[_]| Ok::<_, std::convert::Infallible>(Grant::default());
        let Ok(session) = self.sessions.order(row(ttl), admit);
        session.accepted().await.unwrap();
        session
    }

    /// An order that is granted a parked instance.
    pub(super) async fn claim(&self) -> Session {
        self.given(Given::Parked(InstanceId::random(), phone()))
            .await
    }

    /// An order that is granted what stands for it already.
    pub(super) async fn given(&self, given: Given) -> Session {
        let grant = Grant {
            given,
            ..Grant::default()
        };
        let admit = |_: &[_]| Ok::<_, std::convert::Infallible>(grant);
        let Ok(session) = self.sessions.order(row(Duration::from_secs(600)), admit);
        session.accepted().await.unwrap();
        session
    }

    pub(super) async fn ready(&self) -> Session {
        let session = self.order(Duration::from_secs(600)).await;
        self.ground.starts(Ok(()));
        until(&session, Phase::Ready).await;
        session
    }

    pub(super) async fn journalled(&self, session: &Session) -> SessionRow {
        let id = session.row().id.clone();
        self.journal.find(&id).await.unwrap().unwrap()
    }
}

pub(super) fn phone() -> Phone {
    Phone {
        capabilities: None,
        device: "Android 10 - Chrome 156 (Mobile)".to_owned(),
        version: "156.0.1.2".to_owned(),
        image: "sha256:0".to_owned(),
    }
}

pub(super) fn row(ttl: Duration) -> SessionRow {
    let spec = SessionSpec {
        substrate: Substrate::Chromium,
        profile: "default".to_owned(),
        ttl,
        idle_timeout: Duration::from_secs(300),
        labels: BTreeMap::new(),
        cdp_token: None,
        egress: EgressWish::default(),
    };
    let ids = (SessionId::random(), InstanceId::random());
    SessionRow::ordered(ids, spec, (wall_now(), boot_now().unwrap()))
}

pub(super) async fn until(session: &Session, phase: Phase) -> Snapshot {
    let mut view = session.watch();
    let seen = view.wait_for(|session| session.phase >= phase);
    let seen = tokio::time::timeout(Duration::from_secs(10), seen).await;
    seen.expect("in time").unwrap().clone()
}
