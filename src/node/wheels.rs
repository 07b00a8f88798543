//! Whether the process still moves: what a watchdog is told.
//!
//! Three things must turn for sessions to be looked after: the journal's writer, the rounds that fold
//! the meters and the rounds that compare the node with its host. Docker and the relay are none of
//! them: an agent that is replaced would find them as they are.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::Node;

/// Work in rounds, and when its last round ended.
#[derive(Debug, Default)]
pub(super) struct Wheel(Mutex<Option<Instant>>);

impl Wheel {
    /// A round has ended.
    pub(super) fn turn(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// Since the last round; `None` before the first.
    fn still_for(&self) -> Option<Duration> {
        self.0.lock().map(|turned| turned.elapsed())
    }
}

/// The rounds that are watched.
#[derive(Debug, Default)]
pub(super) struct Wheels {
    pub(super) meters: Wheel,
    pub(super) vitals: Wheel,
}

/// What does not move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stalled {
    /// The journal's writer.
    #[error("the journal's writer has not answered for {} s: is the disk stuck?", .0.as_secs())]
    Journal(Duration),
    /// The writer answered that it cannot write.
    #[error("the journal cannot be written: {0}")]
    Unwritable(String),
    /// Rounds.
    #[error("{rounds} have not gone on for {} s", still_for.as_secs())]
    Rounds {
        /// Which.
        rounds: &'static str,
        /// For how long.
        still_for: Duration,
    },
}

impl Node {
    /// Whether everything moves that must: rounds that are `late` by more than this have stalled.
    /// Before the first round nothing is asked of it.
    ///
    /// # Errors
    /// [`Stalled`] names the first thing that does not move.
    pub async fn moves(&self, late: Duration) -> Result<(), Stalled> {
        match timeout(late, self.journal().turn()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Stalled::Unwritable(error.to_string())),
            Err(_elapsed) => return Err(Stalled::Journal(late)),
        }
        let wheels = &self.inner.wheels;
        judge("the rounds that fold the meters", &wheels.meters, late)?;
        let interval = self.inner.sample_interval;
        judge(
            "the rounds that look at the host",
            &wheels.vitals,
            late + interval,
        )
    }
}

fn judge(rounds: &'static str, wheel: &Wheel, limit: Duration) -> Result<(), Stalled> {
    match wheel.still_for() {
        Some(still_for) if still_for > limit => Err(Stalled::Rounds { rounds, still_for }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rounds_that_stop_are_named_and_go_on() {
        let (wheel, second) = (Wheel::default(), Duration::from_secs(1));
        tokio::time::advance(60 * second).await;
        assert_eq!(judge("rounds", &wheel, second), Ok(()), "none yet");
        wheel.turn();
        tokio::time::advance(second).await;
        assert_eq!(judge("rounds", &wheel, second), Ok(()));
        tokio::time::advance(second).await;
        let still_for = 2 * second;
        let stalled = judge("rounds", &wheel, second).unwrap_err();
        assert_eq!(
            stalled,
            Stalled::Rounds {
                rounds: "rounds",
                still_for
            }
        );
        assert_eq!(stalled.to_string(), "rounds have not gone on for 2 s");
        wheel.turn();
        assert_eq!(judge("rounds", &wheel, second), Ok(()));
    }
}
