//! What follows from how the host fares: whether sessions are admitted.
//!
//! [`vitals`](super::vitals) measures and tells; here are the decisions, which are pure.

use std::time::Duration;

use tokio::sync::watch;

use super::NodeError;
use crate::host::monitor::{Condition, Level, Standing};

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
    recovery: Duration,
}

impl Guard {
    /// Nothing is known yet, so nothing speaks against a session.
    pub(super) fn new(recovery: Duration) -> Self {
        Self {
            standings: watch::Sender::new(Vec::new()),
            recovery,
        }
    }

    pub(super) fn tell(&self, standings: Vec<Standing>) {
        self.standings.send_replace(standings);
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
    use time::OffsetDateTime;

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
        guard.tell(vec![
            standing(Condition::DockerEvents, Level::Degraded),
            standing(Condition::Clock, Level::Degraded),
            standing(Condition::Route, Level::Critical),
            standing(Condition::Teardown, Level::Degraded),
        ]);
        assert_eq!(guard.refusal(), None, "these stop nobody");
        guard.tell(vec![
            standing(Condition::Memory, Level::Degraded),
            standing(Condition::Disk, Level::Critical),
        ]);
        let refusal = guard.refusal().unwrap();
        assert_eq!(refusal.why, "disk is critical: measured");
        assert_eq!(refusal.retry_after, SHORTEST_WAIT);
    }
}
