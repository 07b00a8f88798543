//! Taking the node out of service and back, and ending everything.
//!
//! A drain is an order with a deadline: the event that announces it is the lead time in which a
//! control plane may move its sessions elsewhere. Those that are left then end `substrate_down`, and what is
//! parked goes at once: it is drained when nothing of anything is left. One
//! task carries it out; an `Uncordon` at any moment before calls it off. Where the node stands is in the
//! journal before anybody is told.

use std::{sync::atomic::Ordering, time::Duration};

use futures::future::join_all;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Node, NodeError, status::Conditions};
use crate::{
    instance::Instance,
    model::{Blame, BootInstant, Duty, Phase},
    runtime::{boot_now, wall_now},
    session::{Cause, Session, What},
};

/// Between two looks whether anything still lives.
const LOOK: Duration = Duration::from_millis(200);

impl Node {
    /// Where the node stands.
    #[must_use]
    pub fn duty(&self) -> Duty {
        self.inner.conditions.borrow().duty
    }

    /// Takes no more sessions; those that live go on.
    ///
    /// # Errors
    /// [`NodeError::Journal`]: nothing has changed.
    pub async fn cordon(&self) -> Result<Duty, NodeError> {
        self.on_duty(self.duty().cordon()).await
    }

    /// Back in service; a drain that goes on is called off.
    ///
    /// # Errors
    /// [`NodeError::Journal`]: nothing has changed.
    pub async fn uncordon(&self) -> Result<Duty, NodeError> {
        self.inner.passing.store(false, Ordering::Relaxed);
        self.on_duty(Duty::On).await
    }

    /// Takes no more sessions, and ends those that still live after `limit` (the configured one where
    /// it is `None`). Answers at once; a repeat sets another deadline. One that is `passing` is not
    /// journalled: the next start knows nothing of it.
    ///
    /// # Errors
    /// [`NodeError::Journal`] or [`NodeError::Clock`]: nothing has changed.
    pub async fn drain(&self, limit: Option<Duration>, passing: bool) -> Result<Duty, NodeError> {
        let draining = draining(limit.unwrap_or(self.inner.config.drain_deadline))?;
        self.inner.passing.store(passing, Ordering::Relaxed);
        self.on_duty(draining).await
    }

    /// Journalled, done, told; what is passing leaves nothing for the next start.
    async fn on_duty(&self, duty: Duty) -> Result<Duty, NodeError> {
        if !self.inner.passing.load(Ordering::Relaxed) {
            self.journal().duty(duty).await?;
        }
        self.stands(duty);
        Ok(duty)
    }

    fn stands(&self, duty: Duty) {
        if self.duty() == duty {
            return;
        }
        self.condition(|conditions| conditions.duty = duty);
        let sessions = self.live();
        info!(duty = duty.as_str(), sessions, "node");
        self.hub().publish(What::Duty { duty, sessions });
    }

    /// Sessions that have not ended.
    #[must_use]
    pub fn live(&self) -> usize {
        let live = |session: &&Session| session.row().phase != Phase::Ended;
        self.sessions().all().iter().filter(live).count()
    }

    /// A drain that the next start knows nothing of: for a process that ends afterwards. Returns once
    /// nothing lives. Cancel-safe.
    pub async fn drain_and_wait(&self, limit: Duration) {
        self.inner.passing.store(true, Ordering::Relaxed);
        match draining(limit) {
            Ok(draining) => self.stands(draining),
            Err(error) => return warn!(%error, "sessions are not waited for"),
        }
        let mut conditions = self.inner.conditions.subscribe();
        // The sender lives as long as we do; called off, there is nothing to wait for.
        let over = |duty| !matches!(duty, Duty::Draining { .. });
        drop(conditions.wait_for(|now| over(now.duty)).await);
    }

    /// Takes no more orders, ends every session and waits until nothing of them is left, or until
    /// `limit` has passed.
    pub async fn end_all(&self, limit: Duration) {
        self.condition(|conditions| conditions.stopping = true);
        self.pool().close();
        let end = async {
            let sessions = self.sessions().all();
            info!(sessions = sessions.len(), "ending every session");
            let ends = sessions
                .iter()
                .map(|session| session.taken_down(cause("the node is shutting down")));
            join_all(ends).await;
            // Those that are parked; the others are on their way.
            let instances = self.instances().all();
            join_all(instances.iter().map(|instance| instance.destroy(None))).await;
            join_all(instances.iter().map(Instance::gone)).await;
        };
        let in_time = tokio::time::timeout(limit, end).await.is_ok();
        self.inner.ended.cancel();
        if !in_time {
            let live = |session: &&Session| session.row().phase != Phase::Ended;
            warn!(
                sessions = self.sessions().all().iter().filter(live).count(),
                instances = self.instances().len(),
                "not everything was ended in time; the next start goes on"
            );
        }
    }
}

/// Whoever takes a host out of service is the host to its customers.
fn cause(saw: &str) -> Cause {
    Cause {
        saw: saw.to_owned(),
        blame: Blame::Host,
        told: false,
    }
}

fn draining(limit: Duration) -> Result<Duty, NodeError> {
    Ok(Duty::Draining {
        until: boot_now()?.after(limit),
        deadline: wall_now() + limit,
    })
}

/// Carries out whatever drain is ordered, until the process stops.
pub(super) async fn run(node: Node, stop: CancellationToken) {
    let mut conditions = node.inner.conditions.subscribe();
    loop {
        let duty = conditions.borrow_and_update().duty;
        let work = async {
            match duty {
                Duty::Draining { until, .. } => empty(&node, until).await,
                Duty::On | Duty::Cordoned | Duty::Drained => std::future::pending().await,
            }
        };
        tokio::select! {
            () = work => {
                if node.duty() == duty && let Err(error) = node.on_duty(duty.emptied()).await {
                    warn!(%error, "the node is drained, and the journal does not know");
                    node.stands(duty.emptied());
                }
            }
            () = another(&mut conditions, duty) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Returns once the node stands otherwise.
async fn another(conditions: &mut watch::Receiver<Conditions>, duty: Duty) {
    // The sender lives as long as the node, which we hold.
    drop(conditions.wait_for(|now| now.duty != duty).await);
}

/// Waits until nothing lives, and ends what does after `until`.
async fn empty(node: &Node, until: BootInstant) {
    loop {
        // What is parked is being taken down by the pool meanwhile.
        if node.instances().is_empty() && node.live() == 0 {
            return;
        }
        // A deadline of another boot has passed with it.
        let left = boot_now().ok().and_then(|now| until.until(now));
        let left = left.unwrap_or_default();
        if left.is_zero() && node.live() > 0 {
            info!(sessions = node.live(), "the drain's deadline has passed");
            let sessions = node.sessions().all();
            let ends = sessions
                .iter()
                .map(|session| session.taken_down(cause("the node was drained")));
            join_all(ends).await;
        } else {
            let pause = if left.is_zero() { LOOK } else { LOOK.min(left) };
            tokio::time::sleep(pause).await;
        }
    }
}
