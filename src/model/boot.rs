//! Time that survives suspend and means nothing after a reboot.
//!
//! Deadlines and idle clocks are `CLOCK_BOOTTIME` plus the kernel's boot id, so the agent and the
//! relay agree on them to the microsecond and a restarted process compares the same numbers.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The kernel's random id of this boot (`/proc/sys/kernel/random/boot_id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(Uuid);

/// Text that is not a boot id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a boot id")]
pub struct InvalidBootId(String);

impl FromStr for BootId {
    type Err = InvalidBootId;

    fn from_str(text: &str) -> Result<Self, InvalidBootId> {
        Uuid::try_parse(text.trim())
            .map(Self)
            .map_err(|_invalid| InvalidBootId(text.to_owned()))
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl BootId {
    /// The id as a number, for fixed-size records.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }
}

/// A moment on `CLOCK_BOOTTIME` of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BootInstant {
    /// The boot it belongs to.
    pub boot: BootId,
    /// Microseconds since that boot.
    pub micros: u64,
}

impl BootInstant {
    /// This moment moved `by` into the future; saturates.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Self {
            boot: self.boot,
            micros: self.micros.saturating_add(by),
        }
    }

    /// How long from `now` until this moment; zero when it has passed, `None` for another boot.
    #[must_use]
    pub fn until(self, now: Self) -> Option<Duration> {
        (self.boot == now.boot)
            .then(|| Duration::from_micros(self.micros.saturating_sub(now.micros)))
    }
}
