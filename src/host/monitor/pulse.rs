//! Whether somebody answers, and for how long he has not: written by whoever asks him.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Beat;

/// The pulse of one peer. Clones share it.
#[derive(Debug, Clone)]
pub struct Pulse {
    /// Held to read or to write, never across a wait.
    last: Arc<Mutex<Last>>,
}

#[derive(Debug)]
struct Last {
    /// When it answered last, or when asking began.
    well: Instant,
    /// What the last attempt said, unless it was answered.
    why: Option<String>,
}

impl Pulse {
    /// Taken to be well until asked.
    #[must_use]
    pub fn new() -> Self {
        let last = Last {
            well: Instant::now(),
            why: None,
        };
        Self {
            last: Arc::new(Mutex::new(last)),
        }
    }

    /// It answered, or it did not and why.
    pub fn record(&self, answer: Result<(), String>) {
        let mut last = self.last.lock();
        match answer {
            Ok(()) => {
                last.well = Instant::now();
                last.why = None;
            }
            Err(why) => last.why = Some(why),
        }
    }

    /// As it is now.
    #[must_use]
    pub fn beat(&self) -> Beat {
        let last = self.last.lock();
        match &last.why {
            Some(why) => Beat {
                silent_for: last.well.elapsed(),
                why: why.clone(),
            },
            None => Beat {
                silent_for: Duration::ZERO,
                why: String::new(),
            },
        }
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_the_last_answer() {
        let pulse = Pulse::new();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(pulse.beat().silent_for, Duration::ZERO);
        pulse.record(Ok(()));
        tokio::time::advance(Duration::from_secs(3)).await;
        pulse.record(Err("no answer".to_owned()));
        tokio::time::advance(Duration::from_secs(1)).await;
        pulse.record(Err("refused".to_owned()));
        let beat = pulse.beat();
        assert_eq!((beat.silent_for.as_secs(), &*beat.why), (4, "refused"));
        pulse.record(Ok(()));
        assert_eq!(pulse.beat(), Beat::default());
    }
}
