//! The task that owns one instance: it alone changes its state, and performs each step's effects in
//! the order journal → act → publish.

use tokio::{
    sync::{Semaphore, SemaphorePermit, mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, debug_span, info, warn};

use super::{
    InstanceError, Phone, StartError, Tools, View, destroy,
    handle::Order,
    lend::{Held, give},
    machine::{self, Effect, Input, Step},
    ooms::Ooms,
    stage::Stage,
    start::{self, Attached, Requested},
};
use crate::{
    journal::InstanceRow,
    model::{Failure, InstancePhase, Progress},
    relay::client::Bind,
    runtime::{self, failpoint},
    traces::Trace,
};

pub(super) struct Driver {
    pub(super) tools: Tools,
    pub(super) row: InstanceRow,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) view: watch::Sender<View>,
    /// Shared by all instances: counts their changes.
    pub(super) changes: std::sync::Arc<watch::Sender<u64>>,
    pub(super) stop: CancellationToken,
    /// From the end of the start on.
    pub(super) held: Option<Held>,
    pub(super) phone: Option<Phone>,
    /// The session's claim, for a relay that forgot it.
    pub(super) bound: Option<Bind>,
    pub(super) failure: Option<Failure>,
    /// Whose order made it.
    pub(super) trace: Trace,
    /// Shared with whoever looks at its memory.
    pub(super) ooms: std::sync::Arc<Ooms>,
}

impl Driver {
    /// From wherever it is to `Gone`, or until the process stops.
    pub(super) async fn run(mut self) {
        if self.row.phase == InstancePhase::Starting {
            self.start().await;
        }
        while matches!(self.row.phase, InstancePhase::Parked | InstancePhase::Bound) {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.follow(order).await,
                    None => return,
                },
                () = self.stop.cancelled() => return,
            }
        }
        if self.row.phase == InstancePhase::Destroying {
            self.remove().await;
        }
    }

    /// The way up. An order to destroy calls it off; the step under way is always waited for.
    async fn start(&mut self) {
        let (starts, limit) = self.tools.starting(self.row.substrate);
        let starts = std::sync::Arc::clone(starts);
        let Some(_permit) = self.turn(&starts).await else {
            return;
        };
        let until = Instant::now() + limit;
        let called_off = CancellationToken::new();
        let (stage, mut doing) = watch::channel(Stage::from("nothing yet"));
        let (tools, ooms) = (self.tools.clone(), std::sync::Arc::clone(&self.ooms));
        let begun = Instant::now();
        let mut work = Box::pin(start::run(Requested {
            tools: &tools,
            row: self.row.clone(),
            until,
            called_off: called_off.clone(),
            stage: &stage,
            trace: self.trace.clone(),
            ooms: &ooms,
        }));
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break Some(outcome),
                () = tokio::time::sleep_until(until) => {
                    let stage = doing.borrow().doing;
                    self.fail(&StartError::TooSlow { limit, stage }).await;
                    break None;
                }
                Ok(()) = doing.changed() => {
                    let progress = doing.borrow_and_update().progress.clone();
                    self.progressed(progress);
                }
                order = self.orders.recv() => if self.refuses(order).await { break None },
                // The row is there: the next agent finds whatever this one made.
                () = self.stop.cancelled() => return,
            }
        };
        match outcome {
            Some(Ok(attached)) => {
                let steps = &self.tools.steps;
                steps.took(runtime::Step::InstanceWhole, begun.elapsed());
                self.attached(attached).await;
            }
            Some(Err(error)) => self.fail(&error).await,
            None => {
                called_off.cancel();
                drop(work.await);
            }
        }
    }

    /// Waits for its turn among the starts; `None` when it is not wanted any more.
    async fn turn<'a>(&mut self, starts: &'a Semaphore) -> Option<SemaphorePermit<'a>> {
        loop {
            tokio::select! {
                permit = starts.acquire() => return permit.ok(),
                order = self.orders.recv() => if self.refuses(order).await { return None },
                () = self.stop.cancelled() => return None,
            }
        }
    }

    /// An order that came during the start; true when it ends it.
    async fn refuses(&mut self, order: Option<Order>) -> bool {
        use machine::Denied::NotReady;
        match order {
            Some(Order::Destroy(because)) => {
                self.leave(because).await;
                true
            }
            Some(
                Order::Bind(_, _, done)
                | Order::Claim(_, _, done)
                | Order::Reroute(_, done)
                | Order::Reattach(_, done),
            ) => {
                done.send(Err(NotReady.into())).ok();
                false
            }
            Some(Order::Refill) => false,
            None => {
                self.leave(None).await;
                true
            }
        }
    }

    /// Tells who waits for it; nothing else hangs on that.
    fn progressed(&self, progress: Option<Progress>) {
        let view = View::Starting(progress);
        self.view.send_if_modified(|shown| {
            let further = *shown != view;
            *shown = view;
            further
        });
    }

    async fn attached(&mut self, attached: Attached) {
        self.row = attached.row;
        self.held = Some(attached.held);
        self.phone = Some(attached.phone);
        if let Err(error) = self.step(Input::Attached).await {
            self.leave(Some(failure_of(&error))).await;
        }
    }

    async fn fail(&mut self, error: &StartError) {
        let failed = !matches!(error, StartError::CalledOff);
        self.leave(failed.then(|| error.failure())).await;
    }

    /// Moves to `Destroying`; the reason is kept for whoever asks why.
    async fn leave(&mut self, because: Option<Failure>) {
        if let Some(failure) = &because {
            info!(instance = %self.row.id, code = failure.code, blame = %failure.blame,
                "{}", failure.message);
        }
        self.failure = self.failure.take().or(because);
        if let Err(error) = self.step(Input::Destroy).await {
            // The journal is away: destroying is right all the same, a restart finds the row.
            warn!(instance = %self.row.id, %error, "destroying without a journal");
            self.row.phase = InstancePhase::Destroying;
            self.publish();
        }
    }

    async fn follow(&mut self, order: Order) {
        match order {
            Order::Bind(bind, trace, done) => {
                let outcome = self.bind(*bind, Input::Bind);
                let outcome = outcome.instrument(trace.lead(debug_span!("give"))).await;
                done.send(outcome).ok();
            }
            Order::Claim(bind, trace, done) => {
                let outcome = self.bind(*bind, Input::Claimed);
                let outcome = outcome.instrument(trace.lead(debug_span!("give"))).await;
                done.send(outcome).ok();
            }
            Order::Reroute(bind, done) => {
                let given = give(&self.tools, &bind).await;
                self.bound = Some(*bind);
                done.send(given).ok();
            }
            Order::Reattach(used, done) => {
                if let Some(bind) = &mut self.bound {
                    bind.used = bind.used.max(used);
                }
                let outcome = self.reattach().await;
                done.send(outcome).ok();
            }
            Order::Refill => {
                if let Err(error) = self.refill().await {
                    warn!(instance = %self.row.id, %error, "no more sockets toward DevTools");
                }
            }
            Order::Destroy(because) => self.leave(because).await,
        }
    }

    async fn bind(&mut self, bind: Bind, input: Input) -> Result<(), InstanceError> {
        self.bound = Some(bind);
        self.step(input).await
    }

    /// One step of the machine with its effects.
    async fn step(&mut self, input: Input) -> Result<(), InstanceError> {
        let Step::Moved(next, effects) = machine::step(self.row.phase, input)? else {
            return Ok(());
        };
        let before = std::mem::replace(&mut self.row.phase, next);
        for effect in effects {
            let outcome = match effect {
                Effect::Journal => self.tools.journal.instance(self.row.clone()).await,
                Effect::Forget => self.tools.journal.instance_gone(self.row.id).await,
                Effect::Bind => {
                    if let Some(bind) = &self.bound {
                        give(&self.tools, bind).await?;
                    }
                    Ok(())
                }
                Effect::Publish => {
                    self.publish();
                    Ok(())
                }
                // The caller falls through to `remove`, which is this effect.
                Effect::Destroy => Ok(()),
            };
            if let Err(error) = outcome {
                self.row.phase = before;
                return Err(error.into());
            }
            failpoint(format_args!("instance {next:?} {effect:?}"));
        }
        debug!(instance = %self.row.id, phase = ?next, "instance");
        Ok(())
    }

    fn publish(&self) {
        let phone = || self.phone.clone().unwrap_or_default();
        let view = match self.row.phase {
            InstancePhase::Starting => View::Starting(None),
            InstancePhase::Parked => View::Parked(phone()),
            InstancePhase::Bound => View::Bound(phone()),
            InstancePhase::Destroying => View::Destroying(self.failure.clone()),
            InstancePhase::Gone => View::Gone(self.failure.clone()),
        };
        self.view.send_replace(view);
        self.changes.send_modify(|count| *count += 1);
    }

    async fn remove(mut self) {
        // Ours first: the namespace ends when the last socket in it does.
        self.held = None;
        self.tools.kept.remove(&self.row.id.to_string()).await;
        let (row, stop, tools) = (self.row.clone(), self.stop.clone(), self.tools.clone());
        let gone = {
            let work = destroy::until_gone(&tools, &row, &stop);
            let work = tools.steps.time(runtime::Step::ReleaseRemoval, work);
            tokio::pin!(work);
            loop {
                tokio::select! {
                    gone = &mut work => break gone,
                    // What is asked of an instance that leaves is answered, not left waiting.
                    Some(order) = self.orders.recv() => answer_leaving(order),
                }
            }
        };
        if gone && let Err(error) = self.step(Input::Removed).await {
            warn!(instance = %row.id, %error, "removed, and the journal does not know");
        }
    }
}

fn answer_leaving(order: Order) {
    let refuse = |done: oneshot::Sender<_>| {
        done.send(Err(machine::Denied::Leaving.into())).ok();
    };
    match order {
        Order::Bind(_, _, done)
        | Order::Claim(_, _, done)
        | Order::Reroute(_, done)
        | Order::Reattach(_, done) => refuse(done),
        Order::Refill | Order::Destroy(_) => {}
    }
}

fn failure_of(error: &InstanceError) -> Failure {
    Failure {
        code: "journal_failed".to_owned(),
        message: error.to_string(),
        blame: crate::model::Blame::Agent,
    }
}
