//! Events of the node: numbered without gaps, the last few thousand kept for watchers that come late
//! or fall behind. A watcher that missed some is told so.

use std::{collections::VecDeque, sync::Arc};

use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Event, Item, What};
use crate::runtime::wall_now;

/// Events that are kept for replay.
const KEPT: usize = 4_096;

/// The one place where events get their numbers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Guarded by a plain lock: held to push or copy only.
    kept: Mutex<VecDeque<Event>>,
    latest: watch::Sender<u64>,
    bound: usize,
}

impl Default for Hub {
    fn default() -> Self {
        Self::keeping(KEPT)
    }
}

impl Hub {
    fn keeping(bound: usize) -> Self {
        Self(Arc::new(Inner {
            kept: Mutex::default(),
            latest: watch::Sender::new(0),
            bound,
        }))
    }

    /// Numbers, keeps and tells one event; the number.
    pub fn publish(&self, what: What) -> u64 {
        let mut kept = self.0.kept.lock();
        let seq = *self.0.latest.borrow() + 1;
        kept.push_back(Event {
            seq,
            at: wall_now(),
            what,
        });
        if kept.len() > self.0.bound {
            kept.pop_front();
        }
        // Under the lock, so that numbers are told in order.
        self.0.latest.send_replace(seq);
        seq
    }

    /// Everything after `after_seq` that is still held, then what comes, for as long as it is polled.
    pub fn watch(&self, after_seq: u64) -> impl Stream<Item = Item> + Send + use<> {
        let latest = self.0.latest.subscribe();
        let hub = self.clone();
        let batches = stream::unfold(
            (hub, latest, after_seq),
            |(hub, mut latest, after)| async move {
                latest.wait_for(|latest| *latest != after).await.ok()?;
                let items = hub.after(after);
                let after = items.iter().rev().find_map(|item| match item {
                    Item::Event(event) => Some(event.seq),
                    Item::Gap { .. } => None,
                });
                let after = after.unwrap_or_else(|| *latest.borrow());
                Some((stream::iter(items), (hub, latest, after)))
            },
        );
        batches.flatten()
    }

    /// What a watcher that has seen `after` gets now. A number from the future (of an earlier run of
    /// this node) is a gap too: everything that is held follows.
    fn after(&self, after: u64) -> Vec<Item> {
        let kept = self.0.kept.lock();
        let Some(oldest) = kept.front().map(|event| event.seq) else {
            return Vec::new();
        };
        let newest = oldest + kept.len() as u64 - 1;
        let missed = after > newest || after + 1 < oldest;
        let from = if missed { oldest } else { after + 1 };
        let gap =
            (missed && (after != 0 || oldest > 1)).then_some(Item::Gap { oldest_seq: oldest });
        let at = kept.partition_point(|event| event.seq < from);
        gap.into_iter()
            .chain(kept.range(at..).cloned().map(Item::Event))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn news(hub: &Hub) -> u64 {
        hub.publish(What::SubstrateDown {
            cause: "test".to_owned(),
            sessions: Vec::new(),
        })
    }

    fn numbers(hub: &Hub, after: u64) -> Vec<Result<u64, u64>> {
        let mut stream = Box::pin(hub.watch(after));
        std::iter::from_fn(|| stream.next().now_or_never().flatten())
            .map(|item| match item {
                Item::Event(event) => Ok(event.seq),
                Item::Gap { oldest_seq } => Err(oldest_seq),
            })
            .collect()
    }

    #[test]
    fn a_watcher_goes_on_where_it_stopped() {
        let hub = Hub::default();
        for _ in 0..4 {
            news(&hub);
        }
        assert_eq!(numbers(&hub, 0), [Ok(1), Ok(2), Ok(3), Ok(4)]);
        assert_eq!(numbers(&hub, 2), [Ok(3), Ok(4)]);
        assert_eq!(numbers(&hub, 4), []);
    }

    #[test]
    fn a_watcher_that_missed_events_is_told_so() {
        let hub = Hub::keeping(2);
        for _ in 0..5 {
            news(&hub);
        }
        assert_eq!(numbers(&hub, 1), [Err(4), Ok(4), Ok(5)]);
        assert_eq!(numbers(&hub, 3), [Ok(4), Ok(5)]);
    }

    #[test]
    fn a_number_of_an_earlier_run_is_a_gap() {
        let hub = Hub::default();
        news(&hub);
        assert_eq!(numbers(&hub, 77), [Err(1), Ok(1)]);
    }

    #[tokio::test]
    async fn a_waiting_watcher_hears_of_what_comes() {
        let hub = Hub::default();
        let mut stream = Box::pin(hub.watch(0));
        let (item, _) = tokio::join!(stream.next(), async { news(&hub) });
        assert!(matches!(item, Some(Item::Event(Event { seq: 1, .. }))));
    }
}
