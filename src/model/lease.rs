//! A control plane's hold on a node: as long as it renews, the node's sessions are its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::BootInstant;

/// The part of a lease before its end in which a fenced node sends nothing any more: clocks and
/// messages are never exact.
const MARGIN: u32 = 5;

/// A lease as it was granted last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Larger for every new owner of the node.
    pub epoch: u64,
    /// When it runs out.
    pub expires: BootInstant,
    /// When a fenced node stops sending: a fifth of the lease earlier.
    pub fence: BootInstant,
}

/// What a grant means to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// The first ever, or of the owner that there was.
    Same(Lease),
    /// Of a new owner.
    Newer(Lease),
    /// Of an owner that another one has replaced.
    Outdated {
        /// The epoch that the node has heard of.
        known: u64,
    },
}

impl Lease {
    /// Judges a grant of `ttl` from `now` on under `epoch`, after `held`.
    #[must_use]
    pub fn grant(held: Option<Self>, epoch: u64, ttl: Duration, now: BootInstant) -> Grant {
        let lease = Self {
            epoch,
            expires: now.after(ttl),
            fence: now.after(ttl.saturating_sub(ttl / MARGIN)),
        };
        match held {
            Some(held) if epoch < held.epoch => Grant::Outdated { known: held.epoch },
            Some(held) if epoch > held.epoch => Grant::Newer(lease),
            Some(_) | None => Grant::Same(lease),
        }
    }

    /// Whether a fenced node sends nothing under it at `now`; one of another boot is over.
    #[must_use]
    pub fn has_lapsed(self, now: BootInstant) -> bool {
        self.fence.until(now).is_none_or(|left| left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> BootInstant {
        BootInstant {
            boot: "5f0a2c3e-7d1b-4c8e-9f6a-0b1c2d3e4f50".parse().unwrap(),
            micros: secs * 1_000_000,
        }
    }

    fn granted(held: Option<Lease>, epoch: u64, now: u64) -> Grant {
        Lease::grant(held, epoch, Duration::from_secs(30), at(now))
    }

    #[test]
    fn the_table_of_grants() {
        let Grant::Same(first) = granted(None, 7, 100) else {
            panic!("the first grant is nobody's takeover")
        };
        assert_eq!((first.fence, first.expires), (at(124), at(130)));
        // The control plane renews; it was away and is back; another one takes over; the old one,
        // paused meanwhile, wakes.
        let Grant::Same(renewed) = granted(Some(first), 7, 110) else {
            panic!("the same owner renews")
        };
        assert!(renewed.expires.micros > first.expires.micros);
        assert!(renewed.has_lapsed(at(134)) && !renewed.has_lapsed(at(133)));
        assert!(
            matches!(granted(Some(renewed), 7, 500), Grant::Same(back) if !back.has_lapsed(at(500)))
        );
        let Grant::Newer(taken) = granted(Some(renewed), 8, 120) else {
            panic!("a larger epoch is a new owner")
        };
        assert_eq!(granted(Some(taken), 7, 121), Grant::Outdated { known: 8 });
    }

    #[test]
    fn a_lease_of_another_boot_is_over() {
        let Grant::Same(lease) = granted(None, 1, 100) else {
            panic!("the first grant")
        };
        let boot = "00000000-7d1b-4c8e-9f6a-0b1c2d3e4f50".parse().unwrap();
        assert!(lease.has_lapsed(BootInstant { boot, micros: 0 }));
    }
}
