//! Whether the browser still answers: both connections ask it, and either one's hearing counts.
//!
//! What is asked is the browser itself, never a page: a page in an endless loop is the page's
//! business, and its browser answers all the same.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

/// Of the patience, how much passes between two questions.
const SHARE: u32 = 4;
/// Browsers are never asked more often than this.
const SHORTEST: Duration = Duration::from_millis(50);

/// The heart of one browser.
#[derive(Debug)]
pub(super) struct Heart {
    /// Held to read or to write, never across a wait.
    heard: Mutex<Instant>,
    /// How long a browser may be silent.
    patience: watch::Receiver<Duration>,
}

impl Heart {
    pub(super) fn new(patience: watch::Receiver<Duration>) -> Self {
        Self {
            heard: Mutex::new(Instant::now()),
            patience,
        }
    }

    /// The browser said something.
    pub(super) fn beat(&self) {
        *self.heard.lock() = Instant::now();
    }

    /// How long to wait between two questions.
    pub(super) fn interval(&self) -> Duration {
        (*self.patience.borrow() / SHARE).max(SHORTEST)
    }

    /// Returns once the browser has been silent for longer than it may: for how long. After the
    /// patience has run out it gets one more interval, because it may be we who slept: a process that
    /// was stopped wakes to a clock that ran on, and must hear what came meanwhile. Cancel-safe.
    pub(super) async fn stopped(&self) -> Duration {
        loop {
            let heard = *self.heard.lock();
            let patience = *self.patience.borrow();
            sleep_until(heard + patience).await;
            if *self.heard.lock() != heard {
                continue;
            }
            sleep(self.interval()).await;
            if *self.heard.lock() == heard {
                return heard.elapsed();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heart() -> (Heart, watch::Sender<Duration>) {
        let (tell, patience) = watch::channel(Duration::from_secs(20));
        (Heart::new(patience), tell)
    }

    #[tokio::test(start_paused = true)]
    async fn a_heart_that_beats_is_never_stopped_and_one_that_does_not_is() {
        let (heart, _tell) = heart();
        let beats = async {
            for _ in 0..100 {
                sleep(heart.interval()).await;
                heart.beat();
            }
        };
        tokio::select! {
            () = beats => {}
            silent = heart.stopped() => panic!("stopped after {silent:?}"),
        }
        let silent = heart.stopped().await;
        assert_eq!(silent.as_secs(), 25, "the patience and one more interval");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_slept_himself_hears_first_what_came_meanwhile() {
        let (heart, _tell) = heart();
        let wakes = async {
            // Asleep for an hour: all timers are due at once, the answer is read a moment later.
            tokio::time::advance(Duration::from_secs(3600)).await;
            sleep(Duration::from_millis(10)).await;
            heart.beat();
            sleep(Duration::from_secs(10)).await;
        };
        tokio::select! {
            () = wakes => {}
            silent = heart.stopped() => panic!("stopped after {silent:?}"),
        }
    }
}
