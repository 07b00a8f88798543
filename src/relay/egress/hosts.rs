//! Bytes by host, where an operator wants to know: exact for every host that is kept, bounded for all.
//!
//! A connection is given the count of its host when it is dialled and adds to it as its bytes move, beside
//! the meter: nothing is looked up and nothing is allocated while they do. Where there are more hosts than
//! are kept, the least of those that nobody is connected to makes room, and what it had goes to the
//! others' count. All rows and the others together are the meter, but for what a relay before counted.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use crate::model::HostTraffic;

/// So many hosts are kept for each that is shown: who comes late can still become one of them.
const KEPT_FOR_EACH: usize = 4;

/// The bytes of one host.
#[derive(Debug, Default)]
pub(super) struct Count {
    up: AtomicU64,
    down: AtomicU64,
}

/// The hosts of one instance.
#[derive(Debug)]
pub(super) struct ByHost {
    most: usize,
    /// Held to look one up or to read all, never across a wait.
    kept: Mutex<HashMap<String, Arc<Count>>>,
    others: Arc<Count>,
}

impl Count {
    pub(super) fn add_up(&self, bytes: u64) {
        self.up.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_down(&self, bytes: u64) {
        self.down.fetch_add(bytes, Ordering::Relaxed);
    }

    fn of(&self, host: Option<String>) -> HostTraffic {
        HostTraffic {
            host,
            up: self.up.load(Ordering::Relaxed),
            down: self.down.load(Ordering::Relaxed),
        }
    }
}

impl ByHost {
    /// Of which `top` are to be shown.
    pub(super) fn new(top: usize) -> Self {
        Self {
            most: top.max(1) * KEPT_FOR_EACH,
            kept: Mutex::default(),
            others: Arc::default(),
        }
    }

    /// Where a connection to `host` counts.
    pub(super) fn count(&self, host: &str) -> Arc<Count> {
        let mut kept = self.kept.lock();
        if let Some(count) = kept.get(host) {
            return Arc::clone(count);
        }
        if kept.len() >= self.most && !self.make_room(&mut kept) {
            return Arc::clone(&self.others);
        }
        let count = Arc::<Count>::default();
        kept.insert(host.to_owned(), Arc::clone(&count));
        count
    }

    /// False where somebody is connected to every one.
    fn make_room(&self, kept: &mut HashMap<String, Arc<Count>>) -> bool {
        // Under the lock nobody else can get hold of what only the map holds.
        let idle = kept
            .iter()
            .filter(|(_, count)| Arc::strong_count(count) == 1);
        let sizes = idle.map(|(host, count)| (count.of(None).total(), host));
        let Some(least) = sizes.min().map(|(_, host)| host.clone()) else {
            return false;
        };
        if let Some(gone) = kept.remove(&least) {
            let gone = gone.of(None);
            self.others.add_up(gone.up);
            self.others.add_down(gone.down);
        }
        true
    }

    /// The `top` by their bytes, most first, and last all others together, where there are any.
    pub(super) fn top(&self, top: usize) -> Vec<HostTraffic> {
        let kept = self.kept.lock();
        let each = kept
            .iter()
            .map(|(host, count)| count.of(Some(host.clone())));
        let mut all: Vec<_> = each.collect();
        let mut others = self.others.of(None);
        drop(kept);
        all.sort_by(|one, other| {
            let by_bytes = other.total().cmp(&one.total());
            by_bytes.then_with(|| one.host.cmp(&other.host))
        });
        for beyond in all.drain(top.min(all.len())..) {
            others.up += beyond.up;
            others.down += beyond.down;
        }
        all.extend((others.total() > 0).then_some(others));
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_byte_is_lost_or_made_and_no_more_hosts_are_kept_than_may_be(
            top in 1_usize..4,
            dials in prop::collection::vec((0_u32..40, 0_u64..1_000, 0_u64..1_000, any::<bool>()), 0..200),
        ) {
            let hosts = ByHost::new(top);
            let (mut up, mut down, mut open) = (0, 0, Vec::new());
            for (host, more_up, more_down, stays) in dials {
                let count = hosts.count(&format!("{host}.test"));
                count.add_up(more_up);
                count.add_down(more_down);
                up += more_up;
                down += more_down;
                if stays {
                    open.push(count);
                }
                // Who is connected to what made room meanwhile counts all the same.
                if let Some(long) = open.first() {
                    long.add_down(1);
                    down += 1;
                }
                prop_assert!(hosts.kept.lock().len() <= top * KEPT_FOR_EACH);
            }
            let shown = hosts.top(top);
            prop_assert!(shown.len() <= top + 1);
            prop_assert_eq!(shown.iter().map(|one| one.up).sum::<u64>(), up);
            prop_assert_eq!(shown.iter().map(|one| one.down).sum::<u64>(), down);
            let named: Vec<_> = shown.iter().take_while(|one| one.host.is_some()).collect();
            prop_assert!(named.len() + 1 >= shown.len(), "the others come last");
            prop_assert!(named.windows(2).all(|two| two[0].total() >= two[1].total()));
        }
    }

    #[test]
    fn who_moves_most_is_shown_however_many_come_and_go() {
        let hosts = ByHost::new(2);
        for round in 0..100 {
            hosts.count("much.test").add_down(1_000);
            hosts.count("some.test").add_up(100);
            hosts.count(&format!("once-{round}.test")).add_down(10);
        }
        let shown = hosts.top(2);
        let named: Vec<_> = shown.iter().map(|one| one.host.as_deref()).collect();
        assert_eq!(named, [Some("much.test"), Some("some.test"), None]);
        assert_eq!(
            (shown[0].down, shown[1].up, shown[2].down),
            (100_000, 10_000, 1_000)
        );
    }
}
