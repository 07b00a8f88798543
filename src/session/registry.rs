//! Every session that has not ended (and those that just did): id → mailbox and published state.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::debug;

use super::{
    Cause, Grant, Ground, Hub, Order, Outcome, Snapshot,
    create::Fresh,
    driver::{self, Driver},
    end::Asked,
    high_water::HighWater,
    machine::State,
};
use crate::{
    journal::{Journal, JournalError, SessionRow},
    model::{EndReason, Ending, InstanceId, Phase, SessionId, Substrate, Traffic},
    routes::Taken,
    runtime::Tasks,
    traces::Trace,
};

const MAILBOX: usize = 64;

type Accepted = watch::Receiver<Option<Result<(), JournalError>>>;

/// A session, from outside. Cheap to clone; dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Session {
    mailbox: mpsc::Sender<Order>,
    view: watch::Receiver<Arc<SessionRow>>,
    public: watch::Receiver<Snapshot>,
    accepted: Accepted,
    shown: HighWater,
}

impl Session {
    /// The session as it is now.
    #[must_use]
    pub fn row(&self) -> Arc<SessionRow> {
        Arc::clone(&self.view.borrow())
    }

    /// The most that it was seen to have moved.
    #[must_use]
    pub fn seen(&self) -> Traffic {
        self.shown.raise(self.row().traffic)
    }

    /// The same, with what its meter says now beside its row.
    fn seen_at(&self, sample: Traffic, row: &SessionRow) -> Traffic {
        self.shown.raise(sample.max(row.traffic))
    }

    /// Waits until the order is durable and early clients are held. Cancel-safe.
    ///
    /// # Errors
    /// [`JournalError`]: the order is not known anywhere.
    pub async fn accepted(&self) -> Result<(), JournalError> {
        let mut accepted = self.accepted.clone();
        let answer = accepted.wait_for(Option::is_some).await;
        match answer.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            Ok(None) | Err(_) => Err(JournalError::Closed),
        }
    }

    /// The session as others see it, as it changes. Its bytes are those of the last change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Snapshot> {
        self.public.clone()
    }

    /// How others see `row`, which is its own.
    #[must_use]
    pub fn shown(&self, row: &SessionRow) -> Snapshot {
        Snapshot {
            progress: self.public.borrow().progress.clone(),
            ..Snapshot::from(row)
        }
    }

    /// Asks for its end and waits for how it ended, which may be another way. Dropping the future
    /// does not take the order back.
    pub async fn end(&self, reason: EndReason, detail: Option<String>) -> Option<Outcome> {
        let (asked, outcome) = driver::ask(reason, detail);
        self.mailbox.send(Order::End(asked)).await.ok()?;
        outcome.await.ok()
    }

    /// Asks for its end and does not wait.
    pub async fn end_soon(&self, reason: EndReason, detail: String) {
        let asked = Asked::because(reason, detail);
        self.mailbox.send(Order::End(asked)).await.ok();
    }

    /// Asks for its end `substrate_down` and waits for how it ended, as [`Session::end`] does.
    pub async fn taken_down(&self, cause: Cause) -> Option<Outcome> {
        let (asked, outcome) = driver::ask_for(cause);
        self.mailbox.send(Order::End(asked)).await.ok()?;
        outcome.await.ok()
    }

    /// Asks for its end `substrate_down` and does not wait.
    pub async fn substrate_down(&self, cause: Cause) {
        let asked = Asked::for_cause(cause);
        self.mailbox.send(Order::End(asked)).await.ok();
    }

    /// It goes on by way of another route, which it holds already; does not wait.
    pub async fn reroute(&self, to: Taken, cause: String) {
        self.mailbox.send(Order::Reroute(to, cause)).await.ok();
    }

    /// The arbiter told how it ended; returns once that is journalled, false when it cannot be.
    pub async fn cut(&self, ending: Ending) -> bool {
        self.cut_for(ending, None).await
    }

    /// The same, where the node knows more than the arbiter of what it saw.
    pub async fn cut_for(&self, ending: Ending, cause: Option<Cause>) -> bool {
        let (done, journalled) = oneshot::channel();
        let sent = self.mailbox.send(Order::Cut(ending, cause, done)).await;
        sent.is_ok() && journalled.await.is_ok()
    }
}

/// What those run on that live.
fn living_in(all: &HashMap<SessionId, Session>) -> Vec<Substrate> {
    let rows = all.values().map(Session::row);
    let live = rows.filter(|row| row.phase != Phase::Ended);
    live.map(|row| row.spec.substrate).collect()
}

/// All sessions of this node that have not ended. Cheap to clone.
#[derive(Debug)]
pub struct Sessions<G> {
    ground: Arc<G>,
    journal: Journal,
    hub: Hub,
    tasks: Tasks,
    /// Held to look up or to change an entry, never across a wait.
    all: Arc<Mutex<HashMap<SessionId, Session>>>,
}

impl<G> Clone for Sessions<G> {
    fn clone(&self) -> Self {
        Self {
            ground: Arc::clone(&self.ground),
            journal: self.journal.clone(),
            hub: self.hub.clone(),
            tasks: self.tasks.clone(),
            all: Arc::clone(&self.all),
        }
    }
}

impl<G: Ground> Sessions<G> {
    /// None yet.
    #[must_use]
    pub fn new(ground: G, journal: Journal, hub: Hub, tasks: &Tasks) -> Self {
        Self {
            ground: Arc::new(ground),
            journal,
            hub,
            tasks: tasks.clone(),
            all: Arc::default(),
        }
    }

    /// A new session, unless there is one of this id: then that one. `admit` is told what those run on that
    /// live and is asked under the same lock, so of two orders under one id only one takes anything.
    ///
    /// # Errors
    /// Whatever `admit` says.
    pub fn order<E>(
        &self,
        row: SessionRow,
        admit: impl FnOnce(&[Substrate]) -> Result<Grant, E>,
    ) -> Result<Session, E> {
        let mut all = self.all.lock();
        if let Some(known) = all.get(&row.id) {
            return Ok(known.clone());
        }
        let Grant { route, given } = admit(&living_in(&all))?;
        let mut row = SessionRow {
            egress: route.as_ref().and_then(|taken| taken.exit_ip),
            route: route.as_ref().map(|taken| taken.lease.route.clone()),
            region: route.as_ref().and_then(|taken| taken.region.clone()),
            ..row
        };
        let under = given.enter(&mut row);
        let (accepted, told) = watch::channel(None);
        let fresh = Fresh {
            under,
            lease: route.map(|taken| taken.lease),
            accepted,
            trace: Trace::current(),
        };
        let (session, driver) = self.assemble(row, State::Creating, told);
        all.insert(session.row().id.clone(), session.clone());
        drop(all);
        self.drive(driver, Some(fresh));
        Ok(session)
    }

    /// Takes over a session from the journal, wherever it was.
    pub fn resume(&self, row: SessionRow) -> Session {
        let state = match (row.phase, &row.ending, row.asked) {
            (_, Some(ending), _) => State::Ended(ending.reason),
            (Phase::Creating, ..) => State::Creating,
            (Phase::Ready, ..) => State::Ready,
            (Phase::Closing | Phase::Ended, _, asked) => {
                State::Closing(asked.unwrap_or(EndReason::SubstrateDown))
            }
        };
        let (_accepted, told) = watch::channel(Some(Ok(())));
        let (session, driver) = self.assemble(row, state, told);
        let id = session.row().id.clone();
        self.all.lock().insert(id, session.clone());
        self.drive(driver, None);
        session
    }

    fn assemble(&self, row: SessionRow, state: State, accepted: Accepted) -> (Session, Driver<G>) {
        let (mailbox, orders) = mpsc::channel(MAILBOX);
        let (tell, public) = watch::channel(Snapshot::from(&row));
        let (publish, view) = watch::channel(Arc::new(row.clone()));
        let shown = HighWater::new(row.traffic);
        let session = Session {
            mailbox,
            view,
            public,
            accepted,
            shown: shown.clone(),
        };
        let driver = Driver {
            ground: Arc::clone(&self.ground),
            journal: self.journal.clone(),
            hub: self.hub.clone(),
            state,
            row,
            cause: None,
            orders,
            view: publish,
            public: tell,
            progress: None,
            shown,
            stop: self.tasks.stopping(),
        };
        (session, driver)
    }

    fn drive(&self, driver: Driver<G>, fresh: Option<Fresh>) {
        let (all, id) = (Arc::clone(&self.all), driver.row.id.clone());
        self.tasks.spawn("session", move |_stop| async move {
            Box::pin(driver.run(fresh)).await;
            all.lock().remove(&id);
        });
    }

    /// Tells `decide` how many live, and lets no order in before it has decided.
    pub fn counting<T>(&self, decide: impl FnOnce(usize) -> T) -> T {
        decide(living_in(&self.all.lock()).len())
    }

    /// One session that lives, or ended a moment ago.
    #[must_use]
    pub fn get(&self, id: &SessionId) -> Option<Session> {
        self.all.lock().get(id).cloned()
    }

    /// The session on an instance.
    #[must_use]
    pub fn on(&self, instance: InstanceId) -> Option<Session> {
        let all = self.all.lock();
        all.values().find(|s| s.row().instance == instance).cloned()
    }

    /// Every session at hand.
    #[must_use]
    pub fn all(&self) -> Vec<Session> {
        self.all.lock().values().cloned().collect()
    }

    /// The row with the meter as it stands now; once its instance is gone, as it stood last.
    #[must_use]
    pub fn live(&self, row: &Arc<SessionRow>) -> Arc<SessionRow> {
        if row.phase == Phase::Ended {
            return Arc::clone(row);
        }
        let sample = self.ground.sample(row.instance).unwrap_or_default();
        let traffic = match self.get(&row.id) {
            Some(session) => session.seen_at(sample, row),
            None => sample.max(row.traffic),
        };
        if traffic == row.traffic {
            return Arc::clone(row);
        }
        let mut fresh = SessionRow::clone(row);
        fresh.traffic = traffic;
        Arc::new(fresh)
    }

    /// What each session that has not ended has moved so far.
    #[must_use]
    pub fn meters(&self) -> HashMap<SessionId, Traffic> {
        let all = self.all().into_iter();
        let live = all.filter_map(|session| {
            let row = session.row();
            (row.phase != Phase::Ended).then_some((session, row))
        });
        live.map(|(session, row)| {
            let sample = self.ground.sample(row.instance).unwrap_or_default();
            (row.id.clone(), session.seen_at(sample, &row))
        })
        .collect()
    }

    /// Folds the meters that moved since `last` into the journal.
    ///
    /// # Errors
    /// [`JournalError`]: the samples are not written, later ones will be.
    pub async fn fold(&self, last: &mut HashMap<SessionId, Traffic>) -> Result<(), JournalError> {
        let mut moved = Vec::new();
        let mut now = HashMap::new();
        for session in self.all() {
            let row = session.row();
            if row.phase == Phase::Ended {
                continue;
            }
            if let Some(sample) = self.ground.sample(row.instance) {
                if last.get(&row.id) != Some(&sample) {
                    moved.push((row.id.clone(), session.seen_at(sample, &row)));
                }
                now.insert(row.id.clone(), sample);
            }
        }
        *last = now;
        if moved.is_empty() {
            return Ok(());
        }
        debug!(sessions = moved.len(), "meters folded");
        self.journal.samples(moved).await
    }
}
