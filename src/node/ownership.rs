//! Sessions that the control plane does not own: what `Reconcile` is for.
//!
//! A control plane names the sessions that it owns here. The rest is *disowned* and ends
//! `abandoned_orphan` after a grace, unless it is named before. A session younger than the grace is not
//! judged: the list may be older than the session.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Node, NodeError, NodeState, orders::not_ready};
use crate::{
    model::{BootInstant, EndReason, Phase, SessionId},
    runtime::boot_now,
};

const LOOK: Duration = Duration::from_secs(1);

/// When each disowned session ends.
#[derive(Debug, Default)]
pub(super) struct Disowned(HashMap<SessionId, BootInstant>);

/// A session that lives, and for how long.
#[derive(Debug, Clone)]
struct Living {
    id: SessionId,
    age: Duration,
}

impl Disowned {
    /// A list came: who is not on it has from now until the grace is over; who is on it is safe.
    fn hear(
        &mut self,
        owned: &HashSet<SessionId>,
        living: &[Living],
        now: BootInstant,
        grace: Duration,
    ) {
        let lives: HashSet<_> = living.iter().map(|one| &one.id).collect();
        self.0
            .retain(|id, _| lives.contains(id) && !owned.contains(id));
        for one in living {
            if !owned.contains(&one.id) && one.age >= grace {
                let until = now.after(grace);
                self.0.entry(one.id.clone()).or_insert(until);
            }
        }
    }

    /// Whose grace is over; each is told once.
    fn due(&mut self, now: BootInstant) -> Vec<SessionId> {
        let over = |until: &BootInstant| until.until(now).is_none_or(|left| left.is_zero());
        let due = self.0.iter().filter(|(_, until)| over(until));
        let due: Vec<_> = due.map(|(id, _)| id.clone()).collect();
        self.0.retain(|_, until| !over(until));
        due
    }

    fn ids(&self) -> Vec<SessionId> {
        let mut ids: Vec<_> = self.0.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }
}

/// What a list of owned sessions came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// Live here and owned by nobody: they end unless a later list names them in time.
    pub disowned: Vec<SessionId>,
    /// Owned, and not alive here.
    pub absent: Vec<SessionId>,
}

impl Node {
    /// Compares what lives here with what the control plane owns; `grace` replaces the configured one.
    ///
    /// # Errors
    /// [`NodeError::NotReady`] while the node itself compares; [`NodeError::Clock`].
    pub fn reconcile(
        &self,
        owned: &HashSet<SessionId>,
        grace: Option<Duration>,
    ) -> Result<Ownership, NodeError> {
        if self.state() == NodeState::Starting {
            return Err(not_ready(&NodeState::Starting));
        }
        let (now, grace) = (boot_now()?, grace.unwrap_or_else(|| self.orphan_grace()));
        let rows = self.sessions().all().into_iter().map(|one| one.row());
        let living: Vec<_> = rows
            .filter(|row| row.phase != Phase::Ended)
            .map(|row| Living {
                id: row.id.clone(),
                age: row
                    .spec
                    .ttl
                    .saturating_sub(row.deadline.until(now).unwrap_or_default()),
            })
            .collect();
        let mut disowned = self.inner.disowned.lock();
        disowned.hear(owned, &living, now, grace);
        let mut absent: Vec<_> = owned
            .iter()
            .filter(|id| living.iter().all(|one| one.id != **id))
            .cloned()
            .collect();
        absent.sort_unstable();
        Ok(Ownership {
            disowned: disowned.ids(),
            absent,
        })
    }

    /// What nobody owns is ended, or removed, after this long.
    pub(super) fn orphan_grace(&self) -> Duration {
        self.inner.config.orphan_grace
    }
}

/// Ends the disowned when their time has come.
pub(super) async fn run(node: Node, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
        let Ok(now) = boot_now() else { continue };
        let due = node.inner.disowned.lock().due(now);
        for session in due.iter().filter_map(|id| node.sessions().get(id)) {
            warn!(session = %session.row().id, "nobody owns it any more");
            let detail = "the control plane does not own it".to_owned();
            session.end_soon(EndReason::AbandonedOrphan, detail).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn at(secs: u64) -> BootInstant {
        BootInstant {
            boot: "5f0a2c3e-7d1b-4c8e-9f6a-0b1c2d3e4f50".parse().unwrap(),
            micros: secs * 1_000_000,
        }
    }

    fn living(id: &SessionId, age: u64) -> Living {
        Living {
            id: id.clone(),
            age: Duration::from_secs(age),
        }
    }

    #[test]
    fn who_is_named_in_time_is_safe_and_who_is_not_ends_once() {
        let (mine, lost, found) = (
            SessionId::random(),
            SessionId::random(),
            SessionId::random(),
        );
        let all = [&mine, &lost, &found].map(|id| living(id, 600));
        let mut disowned = Disowned::default();
        disowned.hear(&HashSet::from([mine.clone()]), &all, at(100), GRACE);
        let mut both = vec![lost.clone(), found.clone()];
        both.sort_unstable();
        assert_eq!(disowned.ids(), both);
        assert_eq!(disowned.due(at(159)), []);
        // A second list does not grant the grace anew, but it can take a verdict back.
        disowned.hear(&HashSet::from([mine, found]), &all, at(159), GRACE);
        assert_eq!(disowned.due(at(160)), [lost]);
        assert_eq!(disowned.due(at(1_000)), []);
    }

    #[test]
    fn a_session_that_may_be_younger_than_the_list_is_not_judged() {
        let young = SessionId::random();
        let mut disowned = Disowned::default();
        disowned.hear(&HashSet::new(), &[living(&young, 59)], at(100), GRACE);
        assert_eq!(disowned.ids(), []);
        disowned.hear(&HashSet::new(), &[living(&young, 60)], at(101), GRACE);
        assert_eq!(disowned.ids(), [young]);
    }

    #[test]
    fn who_ended_meanwhile_is_forgotten() {
        let gone = SessionId::random();
        let mut disowned = Disowned::default();
        disowned.hear(&HashSet::new(), &[living(&gone, 600)], at(100), GRACE);
        disowned.hear(&HashSet::new(), &[], at(110), GRACE);
        assert_eq!(disowned.due(at(500)), []);
    }
}
