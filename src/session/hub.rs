//! Events with numbers, a bounded memory, and an honest word when that was too short.
//!
//! Publishing never waits: a reader that is slower than the memory is long is told that it missed
//! something ([`Item::Gap`]) instead of holding everybody up. Numbers grow also across restarts of
//! the agent, because each start counts from its epoch.

use std::{collections::VecDeque, sync::Arc};

use futures::{Stream, stream};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Event, Item, Meters, Tally, What};
use crate::runtime::wall_now;

/// How many events are remembered.
const MEMORY: usize = 4096;
/// Each start of the agent counts from here: more events than any one run can have.
const PER_EPOCH: u64 = 1 << 32;

/// The events of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub {
    /// Held to append or to copy one event, never across a wait.
    held: Arc<Mutex<VecDeque<Event>>>,
    last: Arc<watch::Sender<u64>>,
    memory: usize,
    /// Held to count one event or to copy the counts, never across a wait.
    tally: Arc<Mutex<Tally>>,
    meters: Meters,
}

impl Hub {
    /// An empty hub for this start of the agent.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self::remembering(epoch, MEMORY)
    }

    fn remembering(epoch: u64, memory: usize) -> Self {
        Self {
            held: Arc::default(),
            last: Arc::new(watch::Sender::new(epoch.saturating_mul(PER_EPOCH))),
            memory,
            tally: Arc::default(),
            meters: Meters::default(),
        }
    }

    /// Tells everybody; answers the event's number.
    pub fn publish(&self, what: What) -> u64 {
        if let What::Session(session) = &what {
            self.tally.lock().note(session);
        }
        let mut held = self.held.lock();
        let seq = *self.last.borrow() + 1;
        held.push_back(Event {
            seq,
            at: wall_now(),
            what,
        });
        if held.len() > self.memory {
            held.pop_front();
        }
        // Still under the lock: numbers become visible in their order.
        self.last.send_replace(seq);
        seq
    }

    /// What has ended so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }

    /// The meters, which are told beside the events and are none.
    #[must_use]
    pub const fn meters(&self) -> &Meters {
        &self.meters
    }

    /// The number of the last event.
    #[must_use]
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// The number of the last event, as it grows.
    #[must_use]
    pub fn numbers(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Events after `after`, then live; 0 for everything that is still held. Ends with the hub.
    pub fn watch(&self, after: u64) -> impl Stream<Item = Item> + Send + use<> {
        let reader = Reader {
            held: Arc::clone(&self.held),
            news: self.last.subscribe(),
            // Whoever asks for everything that is held cannot have missed anything.
            next: if after == 0 { None } else { Some(after + 1) },
        };
        stream::unfold(reader, |mut reader| async {
            let item = reader.next().await?;
            Some((item, reader))
        })
    }
}

struct Reader {
    held: Arc<Mutex<VecDeque<Event>>>,
    news: watch::Receiver<u64>,
    /// The number that is due; `None` before the first.
    next: Option<u64>,
}

impl Reader {
    async fn next(&mut self) -> Option<Item> {
        loop {
            let last = *self.news.borrow_and_update();
            if let Some(item) = self.look(last) {
                return Some(item);
            }
            self.news.changed().await.ok()?;
        }
    }

    fn look(&mut self, last: u64) -> Option<Item> {
        let held = self.held.lock();
        let oldest = held.front().map_or(last + 1, |event| event.seq);
        let due = *self.next.get_or_insert(oldest);
        // Too old to be known, or from a future that never was: another journal's number.
        if due < oldest || due > last + 1 {
            self.next = Some(oldest);
            return Some(Item::Gap { oldest_seq: oldest });
        }
        let index = usize::try_from(due - oldest).ok()?;
        let event = held.get(index)?.clone();
        self.next = Some(due + 1);
        Some(Item::Event(event))
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
