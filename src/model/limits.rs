//! What one session may take of its way out.

use serde::{Deserialize, Serialize};

/// Limits of one session's egress; 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes up and down together, as the meter counts them. The session ends `quota_exceeded` with the
    /// last of them, and never has one more.
    pub quota_bytes: u64,
    /// From so many bytes on, counted in the same way, it goes on at `throttle_bytes_per_second`.
    #[serde(skip_serializing_if = "is_none")]
    pub throttle_after_bytes: u64,
    /// Bytes a second from then on, up and down together.
    #[serde(skip_serializing_if = "is_none")]
    pub throttle_bytes_per_second: u64,
    /// Bytes a second, up and down together.
    pub bytes_per_second: u64,
    /// Connections to origins at once; those beyond are refused.
    pub connections: u32,
    /// Requests that pages may make of the proxy in a minute (a tunnel is one); those beyond are refused.
    pub requests_per_minute: u32,
}

/// Half of a throttle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{missing}` must be given beside `{given}`")]
pub struct HalfThrottle {
    /// The field that is there.
    pub given: &'static str,
    /// The one that is not.
    pub missing: &'static str,
}

impl Limits {
    /// Checks that a throttle is whole: after how much, and how much then.
    ///
    /// # Errors
    /// [`HalfThrottle`].
    pub const fn check(self) -> Result<Self, HalfThrottle> {
        let (after, pace) = ("throttle_after_bytes", "throttle_bytes_per_second");
        let (given, missing) = match (self.throttle_after_bytes, self.throttle_bytes_per_second) {
            (0, 0) | (1.., 1..) => return Ok(self),
            (0, _) => (pace, after),
            (_, 0) => (after, pace),
        };
        Err(HalfThrottle { given, missing })
    }

    /// What both allow. Of two throttles: from the earlier on, at the lower pace.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            quota_bytes: tighter(self.quota_bytes, other.quota_bytes),
            throttle_after_bytes: tighter(self.throttle_after_bytes, other.throttle_after_bytes),
            throttle_bytes_per_second: tighter(
                self.throttle_bytes_per_second,
                other.throttle_bytes_per_second,
            ),
            bytes_per_second: tighter(self.bytes_per_second, other.bytes_per_second),
            connections: tighter(self.connections, other.connections),
            requests_per_minute: tighter(self.requests_per_minute, other.requests_per_minute),
        }
    }

    /// Whether anything is limited.
    #[must_use]
    pub fn limit(&self) -> bool {
        *self != Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_none(limit: &u64) -> bool {
    *limit == 0
}

fn tighter<T: Ord + Default>(one: T, other: T) -> T {
    let none = T::default();
    if one == none || (other != none && other < one) {
        other
    } else {
        one
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn limits()(
            quota_bytes in 0_u64..4, bytes_per_second in 0_u64..4, connections in 0_u32..4,
            requests_per_minute in 0_u32..4, (throttle_after_bytes, throttle_bytes_per_second) in throttle(),
        ) -> Limits {
            Limits {
                quota_bytes, throttle_after_bytes, throttle_bytes_per_second, bytes_per_second,
                connections, requests_per_minute,
            }
        }
    }

    fn throttle() -> impl Strategy<Value = (u64, u64)> {
        prop_oneof![Just((0, 0)), (1_u64..4, 1_u64..4)]
    }

    #[test]
    fn half_a_throttle_is_none() {
        let half = Limits {
            throttle_after_bytes: 7,
            ..Limits::default()
        };
        let said = half.check().unwrap_err().to_string();
        let expected = "`throttle_bytes_per_second` must be given beside `throttle_after_bytes`";
        assert_eq!(said, expected);
        let half = Limits {
            throttle_bytes_per_second: 7,
            ..Limits::default()
        };
        assert_eq!(half.check().unwrap_err().missing, "throttle_after_bytes");
    }

    /// Whether `limit` lets `amount` through.
    fn lets(limit: u64, amount: u64) -> bool {
        limit == 0 || amount <= limit
    }

    proptest! {
        #[test]
        fn together_they_allow_what_each_allows(one in limits(), other in limits(), amount in 1_u64..6) {
            let both = one.and(other);
            prop_assert_eq!(both, other.and(one));
            prop_assert!(both.check().is_ok(), "whole and whole is whole");
            let each: [fn(Limits) -> u64; 6] = [
                |of| of.quota_bytes,
                |of| of.throttle_after_bytes,
                |of| of.throttle_bytes_per_second,
                |of| of.bytes_per_second,
                |of| u64::from(of.connections),
                |of| u64::from(of.requests_per_minute),
            ];
            for limit in each {
                let each = lets(limit(one), amount) && lets(limit(other), amount);
                prop_assert_eq!(lets(limit(both), amount), each);
            }
        }
    }
}
