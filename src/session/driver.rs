//! The task that owns one session: it alone changes its state, and performs each step's effects in
//! the order journal → act → publish.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, debug_span, info, warn};

use super::{
    Cause, Ground, Hub, Order, Outcome, Snapshot, What,
    create::Fresh,
    end::{self, Asked},
    high_water::HighWater,
    machine::{Effect, Input, State, Step},
};
use crate::{
    journal::{Journal, JournalError, SessionRow},
    model::{Blame, EndReason, Ending, Failure, Phase, Progress, Why},
    runtime::{self, boot_now, failpoint},
    traces::Trace,
};

/// How long after the deadline the arbiter is asked, should it not have told by itself.
const SECOND_LOOK: Duration = Duration::from_secs(5);
/// An ended session stays at hand this long: a late `Teardown` or `Provision` meets it here.
const LINGER: Duration = Duration::from_secs(30);

pub(super) struct Driver<G> {
    pub(super) ground: Arc<G>,
    pub(super) journal: Journal,
    pub(super) hub: Hub,
    pub(super) state: State,
    pub(super) row: SessionRow,
    /// Why the node asked for its end, if it did.
    pub(super) cause: Option<Cause>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) view: watch::Sender<Arc<SessionRow>>,
    pub(super) public: watch::Sender<Snapshot>,
    /// How far its instance is on its way up.
    pub(super) progress: Option<Progress>,
    pub(super) shown: HighWater,
    pub(super) stop: CancellationToken,
}

/// The process stops: whoever comes after reads the journal.
pub(super) struct Stopped;

impl<G: Ground> Driver<G> {
    /// From wherever the session is to its end, and a little longer.
    pub(super) async fn run(mut self, fresh: Option<Fresh>) {
        let lived = async {
            match (fresh, self.state) {
                (Some(fresh), _) => {
                    let span = debug_span!("provision", session = %self.row.id);
                    let span = fresh.trace.lead(span);
                    self.create(fresh).instrument(span).await?;
                }
                (None, State::Closing(reason)) => self.finish(Asked::quietly(reason)).await?,
                (None, State::Creating) => {
                    self.fail(failure(
                        "agent_restarted",
                        "the agent was restarted while the session was created".to_owned(),
                        Blame::Agent,
                    ))
                    .await?;
                }
                (None, State::Ready | State::Ended(_)) => {}
            }
            self.serve().await
        };
        if Box::pin(lived).await.is_ok() {
            self.linger().await;
        }
    }

    /// Ready, or ending: until it has ended.
    async fn serve(&mut self) -> Result<(), Stopped> {
        while self.row.phase != Phase::Ended {
            let second_look = self.time_left() + SECOND_LOOK;
            tokio::select! {
                order = self.orders.recv() => self.follow(order).await?,
                () = tokio::time::sleep(second_look) => {
                    self.finish(Asked::quietly(EndReason::TtlExpired)).await?;
                }
                () = self.stop.cancelled() => return Err(Stopped),
            }
        }
        Ok(())
    }

    pub(super) async fn follow(&mut self, order: Option<Order>) -> Result<(), Stopped> {
        match order {
            Some(Order::End(asked)) => self.finish(asked).await,
            Some(Order::Cut(ending, cause, done)) => {
                self.cause = cause.or_else(|| self.cause.take());
                self.cut(ending).await?;
                done.send(()).ok();
                Ok(())
            }
            Some(Order::Reroute(to, cause)) => self.reroute(to, cause).await,
            None => Err(Stopped),
        }
    }

    pub(super) async fn fail(&mut self, failure: Failure) -> Result<(), Stopped> {
        let asked = Asked::because(EndReason::Error, failure.message.clone());
        self.row.failure = Some(failure);
        self.finish(asked).await
    }

    /// Somebody wants it to end: journal that, ask the arbiter, and do as it says.
    pub(super) async fn finish(&mut self, asked: Asked) -> Result<(), Stopped> {
        let span = asked
            .trace
            .lead(debug_span!("release", session = %self.row.id));
        self.settle(asked).instrument(span).await
    }

    async fn settle(&mut self, asked: Asked) -> Result<(), Stopped> {
        let was_ended = self.row.phase == Phase::Ended;
        self.cause = self.cause.take().or(asked.cause);
        let input = if self.state == State::Creating && asked.reason == EndReason::Error {
            Input::Failed
        } else {
            Input::End(asked.reason)
        };
        if self.state.phase() < Phase::Closing {
            let (detail, cause) = (asked.detail, self.cause.as_ref());
            let blame = cause.filter(|cause| detail.as_ref() == Some(&cause.saw));
            self.row.why = Why {
                blame: blame.map(|cause| cause.blame),
                detail,
            };
            self.step(input, Some(asked.reason)).await?;
        }
        if let State::Closing(reason) = self.state {
            let bound = self.row.ready_at.is_some();
            let why = &self.row.why;
            let decided = end::decide(&*self.ground, &self.row, (reason, why), bound, &self.stop)
                .instrument(debug_span!("cut"));
            let steps = self.ground.steps();
            let ending = steps.time(runtime::Step::ReleaseCut, decided).await?;
            failpoint(format_args!("session arbitrated"));
            self.cut(ending).await?;
        }
        if let Some(done) = asked.done {
            let row = Arc::new(self.row.clone());
            let won = !was_ended
                && self.row.ending.as_ref().map(|e| e.reason) == Some(asked.reason)
                && self.row.asked == Some(asked.reason);
            done.send(Outcome { row, won }).ok();
        }
        Ok(())
    }

    /// The arbiter has spoken.
    async fn cut(&mut self, mut ending: Ending) -> Result<(), Stopped> {
        if self.row.phase == Phase::Ended {
            return Ok(());
        }
        let reason = ending.reason;
        // What was found out afterwards says more than what the arbiter saw.
        if reason == EndReason::SubstrateDown
            && let Some(cause) = self.cause.as_ref().filter(|cause| !cause.told)
        {
            ending.detail = Some(cause.saw.clone());
        }
        ending.traffic = self.shown.raise(ending.traffic.max(self.row.traffic));
        self.row.traffic = ending.traffic;
        match reason {
            EndReason::Error => {}
            EndReason::SubstrateDown => {
                let saw = ending.detail.clone();
                let known = self.known_cause(&ending).map(|cause| cause.blame);
                let blame = known.or(ending.blame);
                self.row.failure = Some(failure(
                    "substrate_down",
                    saw.unwrap_or_else(|| "the browser or its container died".to_owned()),
                    blame.unwrap_or(Blame::Substrate),
                ));
            }
            EndReason::ClientDelete
            | EndReason::TtlExpired
            | EndReason::IdleExpired
            | EndReason::AbandonedOrphan
            | EndReason::QuotaExceeded => self.row.failure = None,
        }
        self.row.ending = Some(ending);
        self.step(Input::Cut(reason), None).await
    }

    /// The node's cause, if it is why the session ended: somebody else may have been first.
    fn known_cause(&self, ending: &Ending) -> Option<&Cause> {
        let cause = self.cause.as_ref();
        cause.filter(|cause| ending.detail.as_ref() == Some(&cause.saw))
    }

    /// One step of the machine with its effects. A journal that cannot write stops the session where
    /// it is: nothing is published that a restart would not find.
    pub(super) async fn step(
        &mut self,
        input: Input,
        asked: Option<EndReason>,
    ) -> Result<(), Stopped> {
        let step = match self.state.step(input) {
            Ok(step) => step,
            Err(denied) => {
                warn!(session = %self.row.id, %denied, "a fact that cannot be");
                return Ok(());
            }
        };
        let Step::Moved(next, effects) = step else {
            return Ok(());
        };
        self.state = next;
        self.row.phase = next.phase();
        self.row.asked = self.row.asked.or(asked);
        for effect in effects {
            match effect {
                Effect::Journal => {
                    let step = debug_span!("journal", phase = %self.row.phase);
                    self.write().instrument(step).await?;
                }
                Effect::Publish => self.publish(),
                // The caller goes on to ask the arbiter: its answer is the next input.
                Effect::AskArbiter => {}
                Effect::Release => {
                    let because = self.row.failure.clone();
                    self.ground.release(self.row.instance, because).await;
                }
            }
            failpoint(format_args!("session {} {effect:?}", next.phase()));
        }
        Ok(())
    }

    pub(super) async fn write(&mut self) -> Result<(), Stopped> {
        if self.row.ending.is_none() {
            let sample = self.ground.sample(self.row.instance).unwrap_or_default();
            self.row.traffic = self.shown.raise(self.row.traffic.max(sample));
        }
        loop {
            match self.journal.session(self.row.clone()).await {
                Ok(()) => return Ok(()),
                Err(JournalError::Closed) => return Err(Stopped),
                Err(error) => warn!(session = %self.row.id, %error, "cannot be journalled yet"),
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = self.stop.cancelled() => return Err(Stopped),
            }
        }
    }

    pub(super) fn publish(&self) {
        let row = Arc::new(self.row.clone());
        let reason = row.ending.as_ref().map(|ending| ending.reason.as_str());
        info!(session = %row.id, phase = %row.phase, reason, "session");
        if let Some(ending) = &row.ending
            && ending.reason == EndReason::SubstrateDown
            && !self.known_cause(ending).is_some_and(|cause| cause.told)
        {
            let cause = ending.detail.clone().unwrap_or_default();
            self.hub.publish(What::SubstrateDown {
                cause,
                condition: None,
                sessions: vec![row.id.clone()],
            });
        }
        self.view.send_replace(Arc::clone(&row));
        self.tell(&row);
    }

    /// Whoever watches hears how it is now.
    pub(super) fn tell(&self, row: &SessionRow) {
        let making = self.state == State::Creating;
        let snapshot = Snapshot {
            progress: self.progress.clone().filter(|_| making),
            ..Snapshot::from(row)
        };
        self.hub.publish(What::Session(Box::new(snapshot.clone())));
        self.public.send_replace(snapshot);
    }

    /// Answers those who come late, then lets go.
    async fn linger(mut self) {
        let until = tokio::time::Instant::now() + LINGER;
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => drop(self.follow(Some(order)).await),
                    None => return,
                },
                () = tokio::time::sleep_until(until) => return,
                () = self.stop.cancelled() => return,
            }
        }
    }

    pub(super) fn time_left(&self) -> Duration {
        let left = boot_now().ok().and_then(|now| self.row.deadline.until(now));
        if left.is_none() {
            debug!(session = %self.row.id, "its deadline belongs to another boot");
        }
        left.unwrap_or_default()
    }
}

pub(super) fn failure(code: &str, message: String, blame: Blame) -> Failure {
    Failure {
        code: code.to_owned(),
        message,
        blame,
    }
}

/// For callers that know why and wait.
pub(super) fn ask_for(cause: Cause) -> (Asked, oneshot::Receiver<Outcome>) {
    let (done, outcome) = oneshot::channel();
    let asked = Asked {
        done: Some(done),
        ..Asked::for_cause(cause)
    };
    (asked, outcome)
}

/// For callers that ask for an end and wait.
pub(super) fn ask(
    reason: EndReason,
    detail: Option<String>,
) -> (Asked, oneshot::Receiver<Outcome>) {
    let (done, outcome) = oneshot::channel();
    let asked = Asked {
        reason,
        detail,
        cause: None,
        done: Some(done),
        trace: Trace::current(),
    };
    (asked, outcome)
}
