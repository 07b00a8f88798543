//! What one session may take of its way out.

use serde::{Deserialize, Serialize};

/// Limits of one session's egress; 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes up and down together, as the meter counts them. The session ends `quota_exceeded` with the
    /// last of them, and never has one more.
    pub quota_bytes: u64,
    /// Bytes a second, up and down together.
    pub bytes_per_second: u64,
    /// Connections to origins at once; those beyond are refused.
    pub connections: u32,
    /// Requests that pages may make of the proxy in a minute (a tunnel is one); those beyond are refused.
    pub requests_per_minute: u32,
}

impl Limits {
    /// What both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            quota_bytes: tighter(self.quota_bytes, other.quota_bytes),
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
        fn limits()(quota_bytes in 0_u64..4, bytes_per_second in 0_u64..4, connections in 0_u32..4, requests_per_minute in 0_u32..4) -> Limits {
            Limits { quota_bytes, bytes_per_second, connections, requests_per_minute }
        }
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
            let each: [fn(Limits) -> u64; 4] = [
                |of| of.quota_bytes,
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
