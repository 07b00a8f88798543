//! Numbered news for the agent: kept until it has acknowledged them, and bounded.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::model::{Ending, InstanceId, SessionId};

/// More unacknowledged news than this and the oldest go: an agent that was away for so long lists.
const KEPT: usize = 8_192;

/// What happened.
#[derive(Debug, Clone)]
pub(super) enum News {
    Ended {
        session: SessionId,
        instance: Option<InstanceId>,
        ending: Ending,
        record: Vec<u8>,
    },
    SocketsLow(InstanceId),
    InstanceLost {
        instance: InstanceId,
        cause: String,
    },
}

/// The news so far.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Guarded by a plain lock: held to push, copy or drop entries only.
    kept: Mutex<VecDeque<(u64, News)>>,
    latest: watch::Sender<u64>,
    acked: watch::Sender<u64>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            latest: watch::Sender::new(0),
            acked: watch::Sender::new(0),
        }
    }
}

impl Ledger {
    /// Numbers and keeps one piece of news.
    pub(super) fn push(&self, news: News) -> u64 {
        let mut kept = self.kept.lock();
        let seq = *self.latest.borrow() + 1;
        // Said again for as long as it is so: the last time is enough, or it would push endings out.
        if let News::SocketsLow(instance) = &news {
            kept.retain(|(_, old)| !matches!(old, News::SocketsLow(said) if said == instance));
        }
        kept.push_back((seq, news));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        // Published while the lock is held, so that numbers are never seen out of order.
        self.latest.send_replace(seq);
        seq
    }

    /// All news after `seq`, oldest first.
    pub(super) fn after(&self, seq: u64) -> Vec<(u64, News)> {
        let kept = self.kept.lock();
        let from = kept.partition_point(|(at, _)| *at <= seq);
        kept.range(from..).cloned().collect()
    }

    /// Changes whenever there is news.
    pub(super) fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// Everything up to `seq` is known to the agent.
    pub(super) fn ack(&self, seq: u64) {
        let mut kept = self.kept.lock();
        let known = kept.partition_point(|(at, _)| *at <= seq);
        drop(kept.drain(..known));
        self.acked.send_modify(|acked| *acked = (*acked).max(seq));
    }

    /// Up to where the agent knows.
    pub(super) fn acked(&self) -> u64 {
        *self.acked.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_numbered_replayed_and_forgotten_once_acknowledged() {
        let ledger = Ledger::default();
        let instance = InstanceId::random();
        assert_eq!(ledger.push(News::SocketsLow(instance)), 1);
        assert_eq!(ledger.push(News::SocketsLow(InstanceId::random())), 2);
        assert_eq!(ledger.after(0).len(), 2);
        assert_eq!(ledger.after(1).len(), 1);
        ledger.ack(1);
        assert_eq!(ledger.after(0).len(), 1);
        assert_eq!(ledger.push(News::SocketsLow(instance)), 3);
        assert_eq!(ledger.acked(), 1);
    }

    #[test]
    fn a_want_that_is_said_again_takes_the_place_of_the_first() {
        let ledger = Ledger::default();
        let instance = InstanceId::random();
        for seq in 1..=3 {
            assert_eq!(ledger.push(News::SocketsLow(instance)), seq);
        }
        let after: Vec<_> = ledger.after(0).iter().map(|(seq, _)| *seq).collect();
        assert_eq!(after, [3]);
    }

    #[test]
    fn an_agent_that_never_acknowledges_costs_a_bounded_amount() {
        let ledger = Ledger::default();
        for _ in 0..KEPT + 10 {
            ledger.push(News::SocketsLow(InstanceId::random()));
        }
        assert_eq!(ledger.after(0).len(), KEPT);
    }
}
