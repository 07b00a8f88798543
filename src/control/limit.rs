//! Limits of a workspace, decided from what its records say.

use std::time::Duration;

use time::OffsetDateTime;

/// The window of the creation limit.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// A slot may come free at any moment: longer than this nobody is told to wait for one.
const SLOT_HINT: Duration = Duration::from_secs(30);

/// What one workspace may do; 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once.
    pub concurrent: u32,
    /// Creations within a minute.
    pub per_minute: u32,
}

/// What one workspace has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Usage {
    /// Sessions that have not ended.
    pub(super) live: u32,
    /// When the first of them expires.
    pub(super) next_expiry: Option<OffsetDateTime>,
    /// Creations within the window, newest first; as many as the limit at most.
    pub(super) recent: Vec<OffsetDateTime>,
}

/// A creation that the limits do not allow now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Too many live sessions.
    #[error("{limit} sessions are open, which is the limit of this workspace; delete one")]
    Concurrent {
        /// The limit.
        limit: u32,
        /// When to try again.
        retry_after: Duration,
    },
    /// Too many creations within a minute.
    #[error("{limit} sessions were created within the last minute, which is the limit")]
    Rate {
        /// The limit.
        limit: u32,
        /// When the oldest creation leaves the window.
        retry_after: Duration,
    },
}

/// Whether one more session may be created `now`.
///
/// # Errors
/// The limit that stands in the way.
pub(super) fn admit(limits: Limits, usage: &Usage, now: OffsetDateTime) -> Result<(), Exceeded> {
    if limits.concurrent > 0 && usage.live >= limits.concurrent {
        let expiry = usage.next_expiry.map_or(SLOT_HINT, |at| until(now, at));
        return Err(Exceeded::Concurrent {
            limit: limits.concurrent,
            retry_after: expiry.min(SLOT_HINT),
        });
    }
    let Some(last) = (limits.per_minute as usize).checked_sub(1) else {
        return Ok(());
    };
    // The creation that must leave the window before another one fits.
    match usage.recent.get(last) {
        Some(at) if *at + WINDOW > now => Err(Exceeded::Rate {
            limit: limits.per_minute,
            retry_after: until(now, *at + WINDOW).min(WINDOW),
        }),
        _ => Ok(()),
    }
}

fn until(now: OffsetDateTime, at: OffsetDateTime) -> Duration {
    Duration::try_from(at - now).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn limits(concurrent: u32, per_minute: u32) -> Limits {
        Limits {
            concurrent,
            per_minute,
        }
    }

    #[test]
    fn the_oldest_creation_that_counts_says_how_long_to_wait() {
        let recent = vec![START + Duration::from_secs(50), START];
        let usage = Usage {
            recent,
            ..Usage::default()
        };
        let at = |secs| admit(limits(0, 2), &usage, START + Duration::from_secs(secs));
        let retry_after = Duration::from_secs(5);
        assert_eq!(
            at(55),
            Err(Exceeded::Rate {
                limit: 2,
                retry_after
            })
        );
        assert_eq!(at(60), Ok(()));
    }

    #[test]
    fn a_full_workspace_waits_for_its_next_expiry_but_never_long() {
        let usage = |secs| Usage {
            live: 3,
            next_expiry: Some(START + Duration::from_secs(secs)),
            recent: Vec::new(),
        };
        for (expiry, wait) in [(7, 7), (900, 30), (0, 0)] {
            let refusal = admit(limits(3, 0), &usage(expiry), START).unwrap_err();
            let retry_after = Duration::from_secs(wait);
            assert_eq!(
                refusal,
                Exceeded::Concurrent {
                    limit: 3,
                    retry_after
                }
            );
        }
        assert_eq!(admit(limits(4, 0), &usage(7), START), Ok(()));
    }

    proptest! {
        #[test]
        fn no_minute_holds_more_creations_than_the_limit(
            gaps in prop::collection::vec(0u64..20_000, 1..200), limit in 1u32..8,
        ) {
            let mut now = START;
            let mut granted: Vec<OffsetDateTime> = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                let recent = granted.iter().rev().take(limit as usize).copied().collect();
                let usage = Usage { recent, ..Usage::default() };
                match admit(limits(0, limit), &usage, now) {
                    Ok(()) => granted.push(now),
                    Err(Exceeded::Rate { retry_after, .. }) => {
                        let later = now + retry_after;
                        prop_assert_eq!(admit(limits(0, limit), &usage, later), Ok(()));
                    }
                    Err(Exceeded::Concurrent { .. }) => prop_assert!(false),
                }
            }
            for (index, at) in granted.iter().enumerate() {
                let within = granted[index..].iter().filter(|other| **other < *at + WINDOW);
                prop_assert!(within.count() <= limit as usize);
            }
        }

        #[test]
        fn zero_is_no_limit(live in any::<u32>(), many in 0usize..50) {
            let usage = Usage { live, next_expiry: None, recent: vec![START; many] };
            prop_assert_eq!(admit(limits(0, 0), &usage, START), Ok(()));
        }
    }
}
