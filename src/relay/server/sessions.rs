//! The arbiter: each session has one view, and a view only ever moves forward.
//!
//! ```text
//! Expected ──▶ Live ──▶ Cutting(reason) ──▶ Ended(ending)
//!     └───────────────────▲        first reason wins
//! ```
//!
//! The step to `Cutting` is the compare-and-set that every end goes through: the agent's orders, the
//! clocks and the sight of a dead instance. Whoever wins it fixes the counters and settles the
//! ending; everyone else waits for that.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::{
    model::{BootInstant, EndReason, Ending, InstanceId, SessionId},
    relay::{Live, SessionView},
};

/// Endings are remembered for at least this long after they happened, microseconds.
const REMEMBERED_MICROS: u64 = 10 * 60 * 1_000_000;
/// … but never more of them than this.
const REMEMBERED: usize = 10_000;

/// Every session that this relay has heard of.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Guarded by a plain lock: no await while it is held.
    known: Mutex<HashMap<SessionId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    view: watch::Sender<SessionView>,
    instance: Option<InstanceId>,
    record: Vec<u8>,
    /// Number of the event that told the end, and when that was.
    settled: Option<(u64, u64)>,
}

/// The outcome of an attempt to end a session.
#[derive(Debug)]
pub(super) enum Cut {
    /// This reason won; the caller must settle the session.
    Won {
        instance: Option<InstanceId>,
        record: Vec<u8>,
    },
    /// Another was first.
    Lost,
}

/// Why a session cannot be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::relay) enum BindRefused {
    #[error("the session has ended already")]
    Over,
    #[error("the session is bound to another instance")]
    Elsewhere,
}

/// An ending that the relay remembers.
#[derive(Debug, Clone)]
pub(super) struct Tombstone {
    pub(super) session: SessionId,
    pub(super) instance: Option<InstanceId>,
    pub(super) ending: Ending,
    pub(super) seq: u64,
    pub(super) record: Vec<u8>,
}

impl Sessions {
    /// What the gateway sees of `session`.
    pub(super) fn look(&self, session: &SessionId) -> Option<watch::Receiver<SessionView>> {
        let known = self.known.lock();
        known.get(session).map(|entry| entry.view.subscribe())
    }

    /// From now on clients of `session` are held. Says nothing to a session that is further already.
    pub(super) fn expect(
        &self,
        session: SessionId,
        until: BootInstant,
        token: Option<SecretString>,
    ) {
        let expected = SessionView::Expected { until, token };
        let mut known = self.known.lock();
        match known.get(&session) {
            None => drop(known.insert(
                session,
                Entry {
                    view: watch::Sender::new(expected),
                    instance: None,
                    record: Vec::new(),
                    settled: None,
                },
            )),
            Some(entry) => {
                entry.view.send_if_modified(|view| {
                    let renew = matches!(view, SessionView::Expected { .. });
                    if renew {
                        *view = expected;
                    }
                    renew
                });
            }
        }
    }

    /// Makes `session` live on `instance`. `true` when it was not before: then `open` has run, as one
    /// step with it and just before any client could see it.
    ///
    /// # Errors
    /// [`BindRefused`] when it has ended or lives elsewhere.
    pub(super) fn bind(
        &self,
        live: Arc<Live>,
        instance: InstanceId,
        record: Vec<u8>,
        open: impl FnOnce(),
    ) -> Result<bool, BindRefused> {
        let mut known = self.known.lock();
        let Some(entry) = known.get_mut(&live.session) else {
            open();
            let entry = Entry {
                view: watch::Sender::new(SessionView::Live(Arc::clone(&live))),
                instance: Some(instance),
                record,
                settled: None,
            };
            known.insert(live.session.clone(), entry);
            return Ok(true);
        };
        let here = entry.instance == Some(instance);
        let stands = match &*entry.view.borrow() {
            SessionView::Expected { .. } => Ok(false),
            SessionView::Live(_) if here => Ok(true),
            SessionView::Live(_) => Err(BindRefused::Elsewhere),
            SessionView::Cutting(_) | SessionView::Ended(_) => Err(BindRefused::Over),
        }?;
        entry.record = record;
        if !stands {
            entry.instance = Some(instance);
            open();
            entry.view.send_replace(SessionView::Live(live));
        }
        Ok(!stands)
    }

    /// The compare-and-set of every end. `None` for a session that was never heard of.
    pub(super) fn cut(&self, session: &SessionId, reason: EndReason) -> Option<Cut> {
        let known = self.known.lock();
        let entry = known.get(session)?;
        let won = entry.view.send_if_modified(|view| match view {
            SessionView::Expected { .. } | SessionView::Live(_) => {
                *view = SessionView::Cutting(reason);
                true
            }
            SessionView::Cutting(_) | SessionView::Ended(_) => false,
        });
        Some(if won {
            Cut::Won {
                instance: entry.instance,
                record: entry.record.clone(),
            }
        } else {
            Cut::Lost
        })
    }

    /// Publishes the ending of a session whose cut was won.
    pub(super) fn settle(&self, session: &SessionId, ending: Ending, seq: u64, now_micros: u64) {
        let mut known = self.known.lock();
        if let Some(entry) = known.get_mut(session) {
            entry.settled = Some((seq, now_micros));
            entry.view.send_replace(SessionView::Ended(ending));
        }
    }

    /// Every remembered ending.
    pub(super) fn tombstones(&self) -> Vec<Tombstone> {
        let known = self.known.lock();
        let endings = known.iter().filter_map(|(session, entry)| {
            let (seq, _) = entry.settled?;
            let SessionView::Ended(ending) = &*entry.view.borrow() else {
                return None;
            };
            Some(Tombstone {
                session: session.clone(),
                instance: entry.instance,
                ending: ending.clone(),
                seq,
                record: entry.record.clone(),
            })
        });
        endings.collect()
    }

    /// Record of a bound session, for the list.
    pub(super) fn record(&self, session: &SessionId) -> Vec<u8> {
        let known = self.known.lock();
        known
            .get(session)
            .map(|entry| entry.record.clone())
            .unwrap_or_default()
    }

    /// How many CDP clients a session has now.
    pub(super) fn clients(&self, session: &SessionId) -> u32 {
        let known = self.known.lock();
        known
            .get(session)
            .map_or(0, |entry| match &*entry.view.borrow() {
                SessionView::Live(live) => live.clients.open(),
                SessionView::Expected { .. } | SessionView::Cutting(_) | SessionView::Ended(_) => 0,
            })
    }

    /// Forgets what need not be remembered: expectations that nobody fulfilled in time, endings that
    /// are old and known to the agent (`acked`), and the oldest endings beyond the bound.
    pub(super) fn forget(&self, now: BootInstant, acked: u64) {
        let mut known = self.known.lock();
        known.retain(|_, entry| match (&*entry.view.borrow(), entry.settled) {
            (SessionView::Expected { until, .. }, _) => {
                until.until(now).is_some_and(|left| !left.is_zero())
            }
            (SessionView::Ended(_), Some((seq, at))) => {
                seq > acked || now.micros.saturating_sub(at) < REMEMBERED_MICROS
            }
            _ => true,
        });
        let mut ended: Vec<_> = known
            .iter()
            .filter_map(|(session, entry)| Some((entry.settled?.0, session.clone())))
            .collect();
        if ended.len() > REMEMBERED {
            ended.sort_unstable();
            let surplus = ended.len() - REMEMBERED;
            for (_, session) in ended.drain(..surplus) {
                known.remove(&session);
            }
        }
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
