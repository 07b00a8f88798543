//! What many measurements amount to. Pure.
//!
//! Percentiles are nearest-rank: each is a value that was really measured. What failed has no value
//! and is counted beside them, so a success rate never hides in a percentile.

/// Measurements of one thing, and how often it failed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Samples {
    values: Vec<f64>,
    failed: usize,
}

/// Their distribution; the percentiles are `None` where nothing succeeded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    pub(super) count: usize,
    pub(super) failed: usize,
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
}

impl Samples {
    pub(super) fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    pub(super) fn fail(&mut self) {
        self.failed += 1;
    }

    pub(super) fn summary(&self) -> Summary {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        Summary {
            count: sorted.len(),
            failed: self.failed,
            p50: percentile(&sorted, 50),
            p95: percentile(&sorted, 95),
            p99: percentile(&sorted, 99),
        }
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self {
            values: values.into_iter().collect(),
            failed: 0,
        }
    }
}

impl Extend<f64> for Samples {
    fn extend<T: IntoIterator<Item = f64>>(&mut self, values: T) {
        self.values.extend(values);
    }
}

impl Summary {
    /// The share that succeeded, in percent; `None` before anything was tried.
    pub(super) fn success(&self) -> Option<f64> {
        let tried = self.count + self.failed;
        (tried > 0).then(|| 100.0 * whole(self.count) / whole(tried))
    }

    /// This median by that of a baseline.
    pub(super) fn ratio_to(&self, baseline: &Self) -> Option<f64> {
        match (self.p50, baseline.p50) {
            (Some(own), Some(base)) if base > 0.0 => Some(own / base),
            _ => None,
        }
    }
}

/// The smallest value that at least `percent` of all are not above.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(super) const fn whole(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let samples: Samples = (1..=100).rev().map(f64::from).collect();
        let summary = samples.summary();
        assert_eq!(
            (summary.p50, summary.p95, summary.p99),
            (Some(50.0), Some(95.0), Some(99.0))
        );
        let one: Samples = [7.0].into_iter().collect();
        assert_eq!(
            (one.summary().p50, one.summary().p99),
            (Some(7.0), Some(7.0))
        );
    }

    #[test]
    fn nothing_measured_is_not_nought() {
        let nothing = Samples::default().summary();
        assert_eq!((nothing.p50, nothing.success()), (None, None));
        let mut failed = Samples::default();
        failed.fail();
        assert_eq!(failed.summary().success(), Some(0.0));
        failed.push(1.0);
        assert_eq!(failed.summary().success(), Some(50.0));
        assert_eq!(failed.summary().ratio_to(&nothing), None);
    }

    #[test]
    fn a_ratio_is_of_medians() {
        let of = |values: [f64; 3]| values.into_iter().collect::<Samples>().summary();
        let (own, base) = (of([1.0, 3.0, 100.0]), of([2.0, 2.0, 2.0]));
        assert_eq!(own.ratio_to(&base), Some(1.5));
        assert_eq!(own.ratio_to(&of([0.0; 3])), None);
    }

    proptest! {
        #[test]
        fn percentiles_rise_and_lie_within(values in prop::collection::vec(0.0f64..1e9, 1..200)) {
            let summary: Summary = values.iter().copied().collect::<Samples>().summary();
            let [p50, p95, p99] = [summary.p50, summary.p95, summary.p99].map(Option::unwrap);
            prop_assert!(p50 <= p95 && p95 <= p99);
            prop_assert!(values.contains(&p50) && values.contains(&p99));
        }
    }
}
