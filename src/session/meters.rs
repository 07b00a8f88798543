//! Meters that move, told to whoever watches while they do.
//!
//! A meter is no event: it has no number, is not remembered, and only its newest state is worth telling.
//! So a round leaves what all sessions have moved in one place, and each watcher finds out for itself what
//! is new to it there. One that is slow misses rounds and no session; nobody is waited for.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use futures::{Stream, StreamExt, stream};
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};

use super::{Event, Item, What};
use crate::model::{SessionId, Traffic};

/// What sessions have moved at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// When they were looked at.
    pub at: OffsetDateTime,
    /// Each with all that it has moved so far.
    pub sessions: HashMap<SessionId, Traffic>,
}

/// One word to a watcher who wants meters as well.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// What any watcher is told.
    Item(Item),
    /// Those whose meter moved since they were named to this watcher; the first time, all that have moved
    /// anything.
    Moved(Moved),
}

/// The newest state of all meters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Meters {
    newest: Arc<watch::Sender<Option<Arc<Moved>>>>,
    wanted: Arc<Notify>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            newest: Arc::new(watch::Sender::new(None)),
            wanted: Arc::default(),
        }
    }
}

impl Meters {
    /// Waits until somebody watches. Cancel-safe.
    pub async fn wanted(&self) {
        while self.newest.receiver_count() == 0 {
            self.wanted.notified().await;
        }
    }

    /// Tells those who watch now.
    pub fn tell(&self, moved: Moved) {
        self.newest.send_replace(Some(Arc::new(moved)));
    }

    /// The same items, and meters between them from now on. Ends with the items.
    pub fn beside<S>(&self, items: S) -> impl Stream<Item = Told> + Send + use<S>
    where
        S: Stream<Item = Item> + Send + 'static,
    {
        let reader = Reader {
            items: Box::pin(items),
            newest: self.newest.subscribe(),
            told: HashMap::new(),
        };
        self.wanted.notify_one();
        stream::unfold(reader, |mut reader| async {
            let told = reader.next().await?;
            Some((told, reader))
        })
    }
}

struct Reader {
    items: Pin<Box<dyn Stream<Item = Item> + Send>>,
    newest: watch::Receiver<Option<Arc<Moved>>>,
    /// What this watcher knows of each session, by meters and by events.
    told: HashMap<SessionId, Traffic>,
}

impl Reader {
    async fn next(&mut self) -> Option<Told> {
        loop {
            tokio::select! {
                // What is replayed is older than any meter.
                biased;
                item = self.items.next() => {
                    let item = item?;
                    self.note(&item);
                    return Some(Told::Item(item));
                }
                changed = self.newest.changed() => {
                    changed.ok()?;
                    let newest = self.newest.borrow_and_update().clone();
                    if let Some(moved) = newest.and_then(|newest| self.compare(&newest)) {
                        return Some(Told::Moved(moved));
                    }
                }
            }
        }
    }

    /// An event of a session has its meter too: final where it tells the end, and nothing follows that.
    fn note(&mut self, item: &Item) {
        if let Item::Event(Event {
            what: What::Session(session),
            ..
        }) = item
        {
            let known = self.told.entry(session.id.clone()).or_default();
            *known = known.max(session.traffic);
        }
    }

    fn compare(&mut self, newest: &Moved) -> Option<Moved> {
        self.told.retain(|id, _| newest.sessions.contains_key(id));
        let mut sessions = HashMap::new();
        for (id, traffic) in &newest.sessions {
            let known = self.told.get(id).copied().unwrap_or_default();
            let now = known.max(*traffic);
            if now != known {
                self.told.insert(id.clone(), now);
                sessions.insert(id.clone(), now);
            }
        }
        let at = newest.at;
        (!sessions.is_empty()).then_some(Moved { at, sessions })
    }
}

#[cfg(test)]
#[path = "meters_tests.rs"]
mod tests;
