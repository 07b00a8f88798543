//! The most that a session's meter was ever seen to say.
//!
//! A meter lives as long as its instance, and the journal may be a moment behind or unable to write: what
//! was shown once is shown until the end is written, and is in it.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::Traffic;

/// Shared by whoever shows a session and whoever ends it.
#[derive(Debug, Clone)]
pub(super) struct HighWater(Arc<Mutex<Traffic>>);

impl HighWater {
    pub(super) fn new(known: Traffic) -> Self {
        Self(Arc::new(Mutex::new(known)))
    }

    /// Takes note of one more sighting; what may be shown now.
    pub(super) fn raise(&self, sighting: Traffic) -> Traffic {
        let mut most = self.0.lock();
        *most = most.max(sighting);
        *most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(down: u64) -> Traffic {
        Traffic {
            down,
            ..Traffic::default()
        }
    }

    #[test]
    fn what_was_seen_once_is_not_taken_back() {
        let (shown, up) = (HighWater::new(down(5)), 7);
        assert_eq!(shown.raise(down(9)), down(9));
        assert_eq!(
            shown.raise(Traffic::default()),
            down(9),
            "the meter is gone"
        );
        let both = shown.raise(Traffic { up, ..down(3) });
        assert_eq!(both, Traffic { up, ..down(9) });
    }
}
