//! What follows from how the host fares: whether sessions are admitted, and who must go.
//!
//! Who must go first, where one at a time is enough:
//!
//! 1. parked instances, youngest first: nobody misses them;
//! 2. sessions that are still being made, youngest first: nothing is charged for them;
//! 3. sessions that serve, youngest first: least work is lost and least was charged; among equals the
//!    one that moved fewer bytes.
//!
//! Sessions that end already are not counted twice: while something leaves, the next waits for it.
//!
//! [`vitals`](super::vitals) measures and tells; here are the decisions, which are pure.

use std::{cmp::Reverse, time::Duration};

use time::OffsetDateTime;
use tokio::sync::watch;

use super::NodeError;
use crate::{
    host::monitor::{Condition, Level, Standing, Toll},
    model::InstanceId,
};

/// The shortest wait that is worth telling.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Why no session is admitted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What stops it.
    condition: Condition,
    level: Level,
    /// A sentence with what was measured: for operators, customers need not know our paths.
    pub(super) why: String,
    /// When asking again may help.
    retry_after: Duration,
}

impl From<Refusal> for NodeError {
    fn from(refusal: Refusal) -> Self {
        Self::Strained {
            condition: refusal.condition,
            level: refusal.level,
            retry_after: refusal.retry_after,
        }
    }
}

/// The host's conditions as they stand, and what they mean for orders.
#[derive(Debug)]
pub(super) struct Guard {
    standings: watch::Sender<Vec<Standing>>,
    spare_memory: watch::Sender<Option<u64>>,
    recovery: Duration,
}

impl Guard {
    /// Nothing is known yet, so nothing speaks against a session.
    pub(super) fn new(recovery: Duration) -> Self {
        Self {
            standings: watch::Sender::new(Vec::new()),
            spare_memory: watch::Sender::new(None),
            recovery,
        }
    }

    pub(super) fn tell(&self, standings: Vec<Standing>, spare_memory: Option<u64>) {
        self.standings.send_replace(standings);
        self.spare_memory.send_replace(spare_memory);
    }

    /// Memory that is available beyond what keeps the host well, bytes; `None` where it is not known.
    pub(super) fn spare_memory(&self) -> Option<u64> {
        *self.spare_memory.borrow()
    }

    pub(super) fn standings(&self) -> Vec<Standing> {
        self.standings.borrow().clone()
    }

    /// Why no session is admitted now. Answers at once, whatever else hangs.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let standings = self.standings.borrow();
        let worst = worst(&standings)?;
        Some(Refusal {
            condition: worst.condition,
            level: worst.level,
            why: format!("{} is {}: {}", worst.condition, worst.level, worst.why),
            // A condition is over only once it has been better for so long.
            retry_after: self.recovery.max(SHORTEST_WAIT),
        })
    }
}

/// Who might have to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) instance: InstanceId,
    pub(super) rank: Rank,
    /// Since when it has been what it is.
    pub(super) since: OffsetDateTime,
    /// What it moved, both ways.
    pub(super) bytes: u64,
}

/// What a candidate is; the first goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Nobody's.
    Parked,
    /// Being made for a session.
    Creating,
    /// Serving one.
    Serving,
}

/// The order in which candidates go.
pub(super) fn order(candidates: &mut [Candidate]) {
    candidates.sort_by_key(|one| (one.rank, Reverse(one.since), one.bytes, one.instance));
}

/// The worst condition that takes somebody now, for each kind of toll.
pub(super) fn tolls(standings: &[Standing]) -> Vec<&Standing> {
    let mut due: Vec<&Standing> = Vec::new();
    for standing in standings {
        let toll = standing.condition.toll();
        let takes = standing.level == Level::Critical && toll != Toll::Nobody;
        if takes && due.iter().all(|other| other.condition.toll() != toll) {
            due.push(standing);
        }
    }
    due
}

/// Whether the next of those who go one by one is due: `since` the last, while `leaving` instances
/// are not gone yet. What leaves gives room soon; what is stuck must not keep the rest.
pub(super) fn next_is_due(since: Option<Duration>, leaving: usize, interval: Duration) -> bool {
    since.is_none_or(|since| since >= interval && (leaving == 0 || since >= interval * 5))
}

/// The worst of what stops admission; the first of several.
fn worst(standings: &[Standing]) -> Option<&Standing> {
    let stopping = standings.iter().filter(|one| one.stops_admission());
    stopping.reduce(|worst, next| {
        if next.level > worst.level {
            next
        } else {
            worst
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(condition: Condition, level: Level) -> Standing {
        Standing {
            condition,
            level,
            since: OffsetDateTime::UNIX_EPOCH,
            why: "measured".to_owned(),
        }
    }

    #[test]
    fn the_worst_condition_that_stops_admission_is_the_reason() {
        let guard = Guard::new(Duration::from_millis(10));
        assert_eq!(guard.refusal(), None);
        guard.tell(
            vec![
                standing(Condition::DockerEvents, Level::Degraded),
                standing(Condition::Clock, Level::Degraded),
                standing(Condition::Route, Level::Critical),
                standing(Condition::Teardown, Level::Degraded),
            ],
            None,
        );
        assert_eq!(guard.refusal(), None, "these stop nobody");
        guard.tell(
            vec![
                standing(Condition::Memory, Level::Degraded),
                standing(Condition::Disk, Level::Critical),
            ],
            None,
        );
        let refusal = guard.refusal().unwrap();
        assert_eq!(refusal.why, "disk is critical: measured");
        assert_eq!(refusal.retry_after, SHORTEST_WAIT);
    }

    #[test]
    fn who_is_missed_least_goes_first() {
        let candidate = |rank, second, bytes| Candidate {
            instance: InstanceId::random(),
            rank,
            since: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(second),
            bytes,
        };
        let expected = [
            candidate(Rank::Parked, 9, 0),
            candidate(Rank::Parked, 3, 0),
            candidate(Rank::Creating, 99, 0),
            candidate(Rank::Serving, 50, 1),
            candidate(Rank::Serving, 50, 7),
            candidate(Rank::Serving, 1, 0),
        ];
        let mut candidates = expected;
        candidates.reverse();
        order(&mut candidates);
        assert_eq!(candidates, expected);
    }

    #[test]
    fn only_what_is_critical_takes_anybody_and_each_toll_is_taken_once() {
        let standings = [
            standing(Condition::Docker, Level::Degraded),
            standing(Condition::Memory, Level::Critical),
            standing(Condition::Disk, Level::Critical),
            standing(Condition::Relay, Level::Critical),
            standing(Condition::Route, Level::Critical),
            standing(Condition::Teardown, Level::Critical),
        ];
        let due: Vec<_> = tolls(&standings).iter().map(|one| one.condition).collect();
        assert_eq!(due, [Condition::Memory, Condition::Route]);
    }

    #[test]
    fn the_next_waits_for_the_last_but_not_for_ever() {
        let second = Duration::from_secs(1);
        let due =
            |since: Option<u32>, leaving| next_is_due(since.map(|n| second * n), leaving, second);
        assert!(due(None, 3), "the first");
        assert!(!due(Some(0), 0));
        assert!(due(Some(1), 0));
        assert!(!due(Some(4), 1));
        assert!(due(Some(5), 1), "it is stuck");
    }
}
