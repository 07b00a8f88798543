//! Whether a node is in service: what an operator or a control plane decides, not what befalls it.
//!
//! ```text
//!      Cordon               Drain(until)            nothing left
//! On ────────▶ Cordoned ──────────────▶ Draining ──────────────▶ Drained
//!  ▲              │                        │                        │
//!  └──────────────┴────────── Uncordon ────┴────────────────────────┘
//! ```

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::BootInstant;

/// Where a node stands; kept in the journal, so that a restart does not take it back into service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// It takes sessions.
    #[default]
    On,
    /// It takes none; those that live go on.
    Cordoned,
    /// It takes none and waits for those that live to end by themselves.
    Draining {
        /// Then the rest is ended.
        until: BootInstant,
        /// The same moment by the wall clock, for display.
        #[serde(with = "time::serde::rfc3339")]
        deadline: OffsetDateTime,
    },
    /// It takes none and has none.
    Drained,
}

impl Duty {
    /// Out of service, but no further than it is already.
    #[must_use]
    pub const fn cordon(self) -> Self {
        match self {
            Self::On => Self::Cordoned,
            Self::Cordoned | Self::Draining { .. } | Self::Drained => self,
        }
    }

    /// Nothing lives on it any more: a drain is over, anything else is as it was.
    #[must_use]
    pub const fn emptied(self) -> Self {
        match self {
            Self::Draining { .. } => Self::Drained,
            Self::On | Self::Cordoned | Self::Drained => self,
        }
    }

    /// Why no session is taken; `None` in service.
    #[must_use]
    pub const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::On => None,
            Self::Cordoned => Some("the node is cordoned"),
            Self::Draining { .. } => Some("the node is being drained"),
            Self::Drained => Some("the node is drained"),
        }
    }

    /// The word of logs and the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "in service",
            Self::Cordoned => "cordoned",
            Self::Draining { .. } => "draining",
            Self::Drained => "drained",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cordon_ends_no_drain_and_only_a_drain_gets_drained() {
        let boot = "5f0a2c3e-7d1b-4c8e-9f6a-0b1c2d3e4f50".parse().unwrap();
        let draining = Duty::Draining {
            until: BootInstant { boot, micros: 7 },
            deadline: OffsetDateTime::UNIX_EPOCH,
        };
        assert_eq!(Duty::On.cordon(), Duty::Cordoned);
        for out in [Duty::Cordoned, draining, Duty::Drained] {
            assert_eq!(out.cordon(), out);
            assert!(out.refusal().is_some());
        }
        assert_eq!(draining.emptied(), Duty::Drained);
        assert_eq!(Duty::On.emptied(), Duty::On);
        assert_eq!(Duty::Cordoned.emptied(), Duty::Cordoned);
        let text = serde_json::to_string(&draining).unwrap();
        assert_eq!(serde_json::from_str::<Duty>(&text).unwrap(), draining);
    }
}
