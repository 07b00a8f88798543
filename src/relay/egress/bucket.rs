//! A token bucket. Pure: it is told what time it is.

use std::time::Duration;

use tokio::time::Instant;

/// Holds up to `burst` tokens and gains `amount` of them `per` time.
#[derive(Debug)]
pub(super) struct Bucket {
    amount: u128,
    /// Nanoseconds; a token is worth so many units of `level`.
    per: u128,
    burst: u128,
    level: u128,
    at: Instant,
}

impl Bucket {
    /// A full one. An amount of nothing counts as one: what never comes cannot be waited for.
    pub(super) fn new(amount: u64, per: Duration, burst: u64, now: Instant) -> Self {
        let per = per.as_nanos().max(1);
        let burst = u128::from(burst.max(1)) * per;
        Self {
            amount: u128::from(amount.max(1)),
            per,
            burst,
            level: burst,
            at: now,
        }
    }

    /// How many there are.
    pub(super) fn available(&mut self, now: Instant) -> u64 {
        let gained = now.saturating_duration_since(self.at).as_nanos() * self.amount;
        self.level = (self.level + gained).min(self.burst);
        self.at = self.at.max(now);
        u64::try_from(self.level / self.per).unwrap_or(u64::MAX)
    }

    /// Takes `count`, of what there is.
    pub(super) fn take(&mut self, count: u64) {
        self.level = self.level.saturating_sub(u128::from(count) * self.per);
    }

    /// How long until there are `count`, or as many as it can hold.
    pub(super) fn wait(&self, count: u64) -> Duration {
        let wanted = (u128::from(count) * self.per).min(self.burst);
        let nanos = wanted.saturating_sub(self.level).div_ceil(self.amount);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nobody_gets_more_than_the_burst_and_the_rate(
            amount in 1_u64..1_000_000,
            burst in 1_u64..100_000,
            steps in prop::collection::vec((0_u64..2_000, 0_u64..200_000), 1..60),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(amount, Duration::from_secs(1), burst, start);
            let (mut now, mut taken) = (start, 0_u64);
            for (millis, wish) in steps {
                now += Duration::from_millis(millis);
                let count = wish.min(bucket.available(now));
                bucket.take(count);
                taken += count;
                let elapsed = now.duration_since(start).as_millis();
                let most = u128::from(burst) + u128::from(amount) * elapsed / 1000;
                prop_assert!(u128::from(taken) <= most, "{taken} of {most}");
            }
        }

        #[test]
        fn waiting_as_told_is_enough_and_no_longer_than_needed(
            amount in 1_u64..1_000_000,
            burst in 1_u64..100_000,
            first in 0_u64..100_000,
            wish in 1_u64..200_000,
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(amount, Duration::from_secs(1), burst, start);
            let all = bucket.available(start);
            bucket.take(first.min(all));
            let wait = bucket.wait(wish);
            let wish = wish.min(burst);
            prop_assert!(bucket.available(start + wait) >= wish);
            if wait > Duration::from_nanos(1) {
                let mut early = Bucket::new(amount, Duration::from_secs(1), burst, start);
                early.take(first.min(all));
                prop_assert!(early.available(start + wait - Duration::from_nanos(1)) < wish);
            }
        }
    }
}
