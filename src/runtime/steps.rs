//! How long the steps of a session's life take, counted into buckets.
//!
//! | way | steps |
//! |---|---|
//! | `claim` | an order that found a parked browser: its journal row, the relay's `bind`, all of it |
//! | `provision` | an order that had one made: its journal row, `expect`, `bind`, all of it |
//! | `instance` | a browser on its way up, for an order or the pool: `create`, `start`, `furnish`, `attach`, all of it |
//! | `release` | the end: the `cut` by the arbiter; the `removal` of what is left |
//!
//! A step counts when it is over, whether it came out well or not; a whole only when it did.

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Upper bounds of the buckets, seconds; one more bucket holds what is longer.
pub const BOUNDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table of the module says what they are")]
pub enum Step {
    ClaimJournal,
    ClaimBind,
    ClaimWhole,
    ProvisionJournal,
    ProvisionExpect,
    ProvisionBind,
    ProvisionWhole,
    InstanceCreate,
    InstanceStart,
    InstanceFurnish,
    InstanceAttach,
    InstanceWhole,
    ReleaseCut,
    ReleaseRemoval,
}

impl Step {
    const ALL: [Self; 14] = [
        Self::ClaimJournal,
        Self::ClaimBind,
        Self::ClaimWhole,
        Self::ProvisionJournal,
        Self::ProvisionExpect,
        Self::ProvisionBind,
        Self::ProvisionWhole,
        Self::InstanceCreate,
        Self::InstanceStart,
        Self::InstanceFurnish,
        Self::InstanceAttach,
        Self::InstanceWhole,
        Self::ReleaseCut,
        Self::ReleaseRemoval,
    ];

    /// The way that it is a step of, and its name there.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::ClaimJournal => ("claim", "journal"),
            Self::ClaimBind => ("claim", "bind"),
            Self::ClaimWhole => ("claim", "whole"),
            Self::ProvisionJournal => ("provision", "journal"),
            Self::ProvisionExpect => ("provision", "expect"),
            Self::ProvisionBind => ("provision", "bind"),
            Self::ProvisionWhole => ("provision", "whole"),
            Self::InstanceCreate => ("instance", "create"),
            Self::InstanceStart => ("instance", "start"),
            Self::InstanceFurnish => ("instance", "furnish"),
            Self::InstanceAttach => ("instance", "attach"),
            Self::InstanceWhole => ("instance", "whole"),
            Self::ReleaseCut => ("release", "cut"),
            Self::ReleaseRemoval => ("release", "removal"),
        }
    }
}

/// What was counted of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepTimes {
    /// Which.
    pub step: Step,
    /// All of them together, seconds.
    pub seconds: f64,
    /// How many fell into each bucket of [`BOUNDS`], and beyond.
    pub buckets: Vec<u64>,
}

#[derive(Debug)]
struct Cell {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// The counts of one process. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct Steps(Arc<[Cell; Step::ALL.len()]>);

impl Default for Steps {
    fn default() -> Self {
        Self(Arc::new(array::from_fn(|_| Cell {
            buckets: array::from_fn(|_| AtomicU64::new(0)),
            micros: AtomicU64::new(0),
        })))
    }
}

impl Steps {
    /// Counts one.
    pub fn took(&self, step: Step, time: Duration) {
        let cell = &self.0[step as usize];
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound);
        let bucket = bucket.unwrap_or(BOUNDS.len());
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        cell.micros.fetch_add(micros, Ordering::Relaxed);
        cell.buckets[bucket].fetch_add(1, Ordering::Relaxed);
    }

    /// Performs a step and counts it.
    pub fn time<'a, T>(
        &'a self,
        step: Step,
        work: impl Future<Output = T> + Send + 'a,
    ) -> impl Future<Output = T> + Send + 'a {
        // Boxed, because whoever waits would hold it twice.
        let work = Box::pin(work);
        async move {
            let begun = Instant::now();
            let done = work.await;
            self.took(step, begun.elapsed());
            done
        }
    }

    /// What was counted so far, every step.
    #[must_use]
    pub fn all(&self) -> Vec<StepTimes> {
        let read = |step: Step| {
            let cell = &self.0[step as usize];
            let micros = Duration::from_micros(cell.micros.load(Ordering::Relaxed));
            let buckets = cell.buckets.iter().map(|n| n.load(Ordering::Relaxed));
            StepTimes {
                step,
                seconds: micros.as_secs_f64(),
                buckets: buckets.collect(),
            }
        };
        Step::ALL.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_own_place_and_its_own_words() {
        for (at, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, at);
            let same = Step::ALL.iter().filter(|s| s.words() == step.words());
            assert_eq!(same.count(), 1, "{step:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_falls_into_the_bucket_of_its_time() {
        let steps = Steps::default();
        let work = tokio::time::sleep(Duration::from_millis(250));
        steps.time(Step::InstanceStart, work).await;
        steps.took(Step::InstanceStart, Duration::from_secs(3600));
        let all = steps.all();
        let start = all.iter().find(|s| s.step == Step::InstanceStart).unwrap();
        assert_eq!(start.buckets.iter().sum::<u64>(), 2);
        assert_eq!((start.buckets[7], start.buckets[15]), (1, 1), "{start:?}");
        assert!((start.seconds - 3600.25).abs() < 0.01, "{start:?}");
    }
}
