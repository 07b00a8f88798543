//! Which of the relay's events may be acknowledged: pure.
//!
//! Events are worked on side by side, and acknowledging a number acknowledges all before it. So the
//! answer is the number before the first that is still being worked on.

use std::collections::BTreeSet;

/// The events of one relay.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    seen: u64,
    open: BTreeSet<u64>,
    acked: u64,
}

impl Ledger {
    /// An event came.
    pub(super) fn begin(&mut self, seq: u64) {
        self.seen = self.seen.max(seq);
        self.open.insert(seq);
    }

    /// What it told is journalled.
    pub(super) fn done(&mut self, seq: u64) {
        self.open.remove(&seq);
    }

    /// Where to watch from after the stream broke: what was not finished comes again.
    pub(super) fn resume_after(&self) -> u64 {
        self.open
            .first()
            .map_or(self.seen, |first| first.saturating_sub(1))
    }

    /// The number to acknowledge, if it moved.
    pub(super) fn ack(&mut self) -> Option<u64> {
        let upto = self.resume_after();
        (upto > self.acked).then(|| {
            self.acked = upto;
            upto
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_unfinished_is_acknowledged_and_everything_is_in_the_end(
            order in Just((1..20_u64).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut ledger = Ledger::default();
            (1..20).for_each(|seq| ledger.begin(seq));
            let mut finished = BTreeSet::new();
            let mut last = 0;
            for seq in order {
                ledger.done(seq);
                finished.insert(seq);
                if let Some(upto) = ledger.ack() {
                    prop_assert!(upto > last);
                    prop_assert!((1..=upto).all(|seq| finished.contains(&seq)));
                    last = upto;
                }
            }
            prop_assert_eq!(last, 19);
        }
    }
}
