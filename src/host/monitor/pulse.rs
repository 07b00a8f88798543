//! Whether somebody answers, and for how long he has not: written by whoever asks him.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Beat;

/// Of the time before the first failed attempt, so much at most counts as silence: a process that was
/// stopped for an hour must not take its own sleep for the other's.
const CREDIT: Duration = Duration::from_secs(3);

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
    /// Since the first attempt that failed.
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    /// When that attempt failed.
    since: Instant,
    /// How long the silence had lasted by then, as far as it was heard.
    before: Duration,
    /// What the last attempt said.
    why: String,
}

impl Pulse {
    /// Taken to be well until asked.
    #[must_use]
    pub fn new() -> Self {
        let last = Last {
            well: Instant::now(),
            failing: None,
        };
        Self {
            last: Arc::new(Mutex::new(last)),
        }
    }

    /// It answered, or it did not and why.
    pub fn record(&self, answer: Result<(), String>) {
        let mut last = self.last.lock();
        match (answer, &mut last.failing) {
            (Ok(()), _) => {
                last.well = Instant::now();
                last.failing = None;
            }
            (Err(why), Some(failing)) => failing.why = why,
            (Err(why), None) => {
                let before = last.well.elapsed().min(CREDIT);
                last.failing = Some(Failing {
                    since: Instant::now(),
                    before,
                    why,
                });
            }
        }
    }

    /// As it is now.
    #[must_use]
    pub fn beat(&self) -> Beat {
        match &self.last.lock().failing {
            Some(failing) => Beat {
                silent_for: failing.before + failing.since.elapsed(),
                why: failing.why.clone(),
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

    #[tokio::test(start_paused = true)]
    async fn whoever_slept_does_not_take_it_for_the_others_silence() {
        let pulse = Pulse::new();
        pulse.record(Ok(()));
        tokio::time::advance(Duration::from_secs(3600)).await;
        pulse.record(Err("no answer within 2s".to_owned()));
        assert_eq!(pulse.beat().silent_for, CREDIT);
    }
}
