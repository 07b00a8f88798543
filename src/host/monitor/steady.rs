//! One condition over time: nothing stands on one odd sample, nothing is over at the first good one.

use std::time::Duration;

use time::OffsetDateTime;

use super::{Condition, Finding, Level, Standing};

/// A condition with what speaks against how it stands.
#[derive(Debug)]
pub(super) struct Steady {
    standing: Standing,
    doubt: Option<Doubt>,
}

/// Findings that all said better, or all worse.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    /// The mildest change that they all agree on.
    level: Level,
    since: Duration,
}

impl Steady {
    pub(super) const fn new(condition: Condition, wall: OffsetDateTime) -> Self {
        let standing = Standing {
            condition,
            level: Level::Ok,
            since: wall,
            why: String::new(),
        };
        Self {
            standing,
            doubt: None,
        }
    }

    pub(super) const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// One more finding; `patience` is how long findings must say worse, and better. True when the
    /// level changed.
    pub(super) fn observe(
        &mut self,
        finding: Finding,
        (at, wall): (Duration, OffsetDateTime),
        (worse, better): (Duration, Duration),
    ) -> bool {
        let now = self.standing.level;
        if finding.level == now {
            self.doubt = None;
            self.standing.why = finding.why;
            return false;
        }
        let worsens = finding.level > now;
        let doubt = match self.doubt {
            Some(doubt) if (doubt.level > now) == worsens => Doubt {
                level: if worsens {
                    doubt.level.min(finding.level)
                } else {
                    doubt.level.max(finding.level)
                },
                since: doubt.since,
            },
            _ => Doubt {
                level: finding.level,
                since: at,
            },
        };
        let patience = if worsens { worse } else { better };
        if at.saturating_sub(doubt.since) < patience {
            self.doubt = Some(doubt);
            return false;
        }
        self.doubt = None;
        self.standing = Standing {
            condition: self.standing.condition,
            level: doubt.level,
            since: wall,
            why: finding.why,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

    fn steady() -> Steady {
        Steady::new(Condition::Memory, OffsetDateTime::UNIX_EPOCH)
    }

    /// Feeds one level per second; the level that stands after each.
    fn stands(steady: &mut Steady, levels: &[Level]) -> Vec<Level> {
        let mut stands = Vec::new();
        for (second, level) in levels.iter().enumerate() {
            let at = Duration::from_secs(second as u64);
            let wall = OffsetDateTime::UNIX_EPOCH + at;
            let finding = Finding {
                level: *level,
                why: format!("{level} at {second}"),
            };
            steady.observe(finding, (at, wall), PATIENCE);
            stands.push(steady.standing.level);
        }
        stands
    }

    #[test]
    fn one_odd_sample_is_nothing_and_recovery_takes_its_time() {
        use Level::{Degraded as D, Ok as O};
        let levels = [O, D, O, D, D, O, O, D, O, O, O, O, O, O];
        let expected = [O, O, O, O, D, D, D, D, D, D, D, D, D, O];
        let mut steady = steady();
        assert_eq!(stands(&mut steady, &levels), expected);
        assert_eq!(steady.standing.since.unix_timestamp(), 13);
        assert_eq!(steady.standing.why, "ok at 13");
    }

    #[test]
    fn what_gets_worse_twice_moves_as_far_as_all_samples_agree() {
        use Level::{Critical as C, Degraded as D, Ok as O};
        let mut one = steady();
        assert_eq!(stands(&mut one, &[O, D, C, C]), [O, O, D, D]);
        let mut one = steady();
        assert_eq!(stands(&mut one, &[O, C, C]), [O, O, C]);
        // Better for five seconds, but not all of them well.
        let mut one = steady();
        let levels = [C, C, O, O, D, O, O, O];
        assert_eq!(stands(&mut one, &levels), [O, C, C, C, C, C, C, D]);
    }

    proptest! {
        #[test]
        fn a_level_is_never_worse_than_the_samples_were(
            levels in prop::collection::vec(0..3_u8, 1..60),
        ) {
            let level = |n: &u8| [Level::Ok, Level::Degraded, Level::Critical][usize::from(*n)];
            let levels: Vec<_> = levels.iter().map(level).collect();
            let mut steady = steady();
            for (at, stands) in stands(&mut steady, &levels).into_iter().enumerate() {
                let seen = levels[..=at].iter().max();
                prop_assert!(Some(&stands) <= seen);
            }
        }

        #[test]
        fn whatever_was_before_two_recoveries_make_it_well(
            mut levels in prop::collection::vec(0..3_u8, 1..40),
        ) {
            // One from critical to what the mildest of the samples was, one from there.
            levels.extend([0; 12]);
            let level = |n: &u8| [Level::Ok, Level::Degraded, Level::Critical][usize::from(*n)];
            let levels: Vec<_> = levels.iter().map(level).collect();
            let mut steady = steady();
            let stands = stands(&mut steady, &levels);
            prop_assert_eq!(stands.last(), Some(&Level::Ok));
        }
    }
}
