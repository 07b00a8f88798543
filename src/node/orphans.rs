//! Containers of ours that nobody knows: a pure judgement, and the pass that asks for it.
//!
//! A container is an orphan when it carries this node's label and neither a driver nor the journal
//! knows its instance, for longer than the grace; so is one that runs and that Docker does not know
//! ([`strays`]). A pass that cannot ask Docker and the journal judges
//! nobody, and removes a few at most. Each is a numbered event and is counted.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
    time::Duration,
};

use tokio::time::Instant;
use tracing::warn;

use super::{Node, restart::instance_of};
use crate::{
    instance::{container_name, strays},
    journal::InstanceRow,
    model::{EndReason, InstanceId},
    session::What,
};

/// Removed in one pass.
const AT_MOST: usize = 8;

/// Who is unknown, and since when.
#[derive(Debug, Default)]
pub(super) struct Suspects(HashMap<InstanceId, Instant>);

impl Suspects {
    /// Takes note of who is unknown now; answers who has been for too long.
    fn judge(
        &mut self,
        unknown: &HashSet<InstanceId>,
        now: Instant,
        grace: Duration,
    ) -> Vec<InstanceId> {
        self.0.retain(|id, _| unknown.contains(id));
        for id in unknown {
            self.0.entry(*id).or_insert(now);
        }
        let due = |(id, since): (&InstanceId, &Instant)| (now - *since >= grace).then_some(*id);
        let mut due: Vec<_> = self.0.iter().filter_map(due).collect();
        // Ids grow with time: the oldest first.
        due.sort_unstable();
        due.truncate(AT_MOST);
        due
    }
}

/// How often to look.
pub(super) fn every(grace: Duration) -> Duration {
    (grace / 2).clamp(Duration::from_secs(1), Duration::from_secs(30))
}

/// One pass.
pub(super) async fn pass(node: &Node, suspects: &mut Suspects) {
    let docker = &node.instances().tools().docker;
    let containers = match docker.list(&node.label()).await {
        Ok(containers) => containers,
        Err(error) => return warn!(%error, "no sweep: Docker cannot be asked"),
    };
    let journalled: HashSet<_> = match node.journal().instances().await {
        Ok(rows) => rows.iter().map(|row| row.id).collect(),
        Err(error) => return warn!(%error, "no sweep: the journal cannot be asked"),
    };
    let known = |id: &InstanceId| node.instances().get(*id).is_some() || journalled.contains(id);
    let running = strays::look(node.instances().tools().node).await;
    let ours = containers.iter().filter_map(instance_of).chain(running);
    let unknown = ours.filter(|id| !known(id)).collect();
    for id in suspects.judge(&unknown, Instant::now(), node.orphan_grace()) {
        warn!(instance = %id, reason = %EndReason::AbandonedOrphan, "an orphan is removed");
        let removed = &node.inner.counted.orphans_removed;
        removed.fetch_add(1, Ordering::Relaxed);
        node.hub().publish(What::Orphan {
            instance: id,
            container: container_name(id),
        });
        drop(node.instances().drive(InstanceRow::leftover(id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn only_who_stays_unknown_for_the_whole_grace_is_an_orphan() {
        let (one, two) = (InstanceId::random(), InstanceId::random());
        let mut suspects = Suspects::default();
        let start = Instant::now();
        let mut judge = |unknown: &[InstanceId], after: u64| {
            let unknown = unknown.iter().copied().collect();
            suspects.judge(&unknown, start + Duration::from_secs(after), GRACE)
        };
        assert_eq!(judge(&[one, two], 0), []);
        // Somebody was found to know the second: its time begins anew.
        assert_eq!(judge(&[one], 30), []);
        assert_eq!(judge(&[one, two], 59), []);
        assert_eq!(judge(&[one, two], 60), [one]);
        assert_eq!(judge(&[two], 118), []);
        assert_eq!(judge(&[two], 119), [two]);
        assert_eq!(judge(&[], 500), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_removes_a_few_at_most_the_oldest_first() {
        let ids: Vec<_> = (0..20).map(|_| InstanceId::random()).collect();
        let unknown = ids.iter().copied().collect();
        let mut suspects = Suspects::default();
        let now = Instant::now();
        assert_eq!(suspects.judge(&unknown, now, GRACE), []);
        let due = suspects.judge(&unknown, now + GRACE, GRACE);
        let mut oldest = ids.clone();
        oldest.sort_unstable();
        assert_eq!(due, oldest[..AT_MOST]);
    }

    #[test]
    fn a_short_grace_is_looked_after_in_time() {
        assert_eq!(every(Duration::from_secs(4)), Duration::from_secs(2));
        assert_eq!(every(Duration::ZERO), Duration::from_secs(1));
        assert_eq!(every(Duration::from_secs(3600)), Duration::from_secs(30));
    }
}
