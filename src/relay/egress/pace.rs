//! How many lines a page may make the host log.

use std::time::Duration;

use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(10);
const LINES: u32 = 32;

/// Lets so many lines through per window and counts the rest.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    said: u32,
    silent: u64,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            since: now,
            said: 0,
            silent: 0,
        }
    }

    /// Whether a line may be logged now; if so, how many were not since the last one.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.said = 0;
        }
        if self.said == LINES {
            self.silent += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_a_number() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let said = (0..100).filter(|_| pace.admit(start).is_some()).count();
        assert_eq!(said, 32);
        assert_eq!(pace.admit(start + WINDOW), Some(68));
        assert_eq!(pace.admit(start + WINDOW), Some(0));
    }
}
