//! The two clocks of a bound session, as one decision.

use std::time::Duration;

use crate::model::{BootInstant, EndReason};

/// No sleep is longer, so that a suspended host is noticed soon after it wakes.
const LONGEST: Duration = Duration::from_secs(10);

/// What the clocks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tick {
    /// The session is over.
    Due(EndReason),
    /// Look again after this long, or when a client comes or goes.
    Wait(Duration),
}

/// What the clocks run on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// End of the ttl.
    pub(super) deadline: BootInstant,
    /// The session may be without a client for this long.
    pub(super) idle_timeout: Duration,
}

impl Limits {
    /// Whether the session is over at `now`, with `clients` attached, the last having left at
    /// `idle_since` (microseconds of the same clock).
    pub(super) fn tick(self, now: BootInstant, clients: u32, idle_since: u64) -> Tick {
        // A deadline of another boot cannot be kept any more: nothing of that boot lives.
        let left = self.deadline.until(now).unwrap_or(Duration::ZERO);
        if left.is_zero() {
            return Tick::Due(EndReason::TtlExpired);
        }
        let idle_left = if clients > 0 {
            LONGEST
        } else {
            let idle = Duration::from_micros(now.micros.saturating_sub(idle_since));
            self.idle_timeout.saturating_sub(idle)
        };
        if idle_left.is_zero() {
            return Tick::Due(EndReason::IdleExpired);
        }
        Tick::Wait(left.min(idle_left).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOOT: &str = "5f0a2c3e-7d1b-4c8e-9f6a-0b1c2d3e4f50";

    fn at(secs: u64) -> BootInstant {
        BootInstant {
            boot: BOOT.parse().unwrap(),
            micros: secs * 1_000_000,
        }
    }

    const fn limits(deadline: BootInstant) -> Limits {
        Limits {
            deadline,
            idle_timeout: Duration::from_secs(30),
        }
    }

    #[test]
    fn the_deadline_beats_idleness() {
        assert_eq!(
            limits(at(100)).tick(at(100), 0, 0),
            Tick::Due(EndReason::TtlExpired)
        );
        assert_eq!(
            limits(at(100)).tick(at(99), 0, 0),
            Tick::Due(EndReason::IdleExpired)
        );
    }

    #[test]
    fn an_attached_client_is_never_idle() {
        assert_eq!(
            limits(at(1_000)).tick(at(500), 1, 0),
            Tick::Wait(Duration::from_secs(10))
        );
    }

    #[test]
    fn another_boot_is_over() {
        let other = BootInstant {
            boot: "00000000-7d1b-4c8e-9f6a-0b1c2d3e4f50".parse().unwrap(),
            micros: u64::MAX,
        };
        assert_eq!(
            limits(other).tick(at(1), 1, 0),
            Tick::Due(EndReason::TtlExpired)
        );
    }

    proptest! {
        #[test]
        fn sleeping_as_told_never_oversleeps(deadline in 1_u64..10_000, now in 0_u64..10_000, idle in 0_u64..10_000, clients in 0_u32..3) {
            match limits(at(deadline)).tick(at(now), clients, idle * 1_000_000) {
                Tick::Due(EndReason::TtlExpired) => prop_assert!(now >= deadline),
                Tick::Due(reason) => {
                    prop_assert_eq!(reason, EndReason::IdleExpired);
                    prop_assert!(clients == 0 && now >= idle + 30);
                }
                Tick::Wait(wait) => {
                    prop_assert!(!wait.is_zero());
                    prop_assert!(Duration::from_secs(now) + wait <= Duration::from_secs(deadline));
                }
            }
        }
    }
}
