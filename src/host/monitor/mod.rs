//! How the host fares, as conditions that stand: what was measured, how bad it is, and since when.
//!
//! ```text
//!   Sampler (procfs, statvfs, PSI) ─┐
//!   Pulse (Docker, relay) ──────────┼─▶ Facts ─▶ judge ─▶ Steady ─▶ Standing ─▶ whoever acts
//!   the node's own (routes, …) ─────┘         thresholds  hysteresis
//! ```
//!
//! Measuring is apart from judging, and judging is pure: [`judge`] compares facts with the
//! thresholds of `[host]`, [`Monitor`] lets nothing stand on one odd sample and nothing be over
//! before it was over for a while. What follows from a condition:
//!
//! | condition | looked at | no admission | ends sessions |
//! |---|---|---|---|
//! | `docker` | a ping each second | degraded | critical: all |
//! | `docker_events` | whether its events are heard | never | never |
//! | `memory` | memory available | degraded | critical: one by one |
//! | `memory_pressure` | PSI `full avg10` | degraded | critical: one by one |
//! | `disk` | bytes free where we and Docker write | degraded | critical: one by one |
//! | `inodes` | inodes free there | degraded | critical: one by one |
//! | `descriptors` | of this process and of the host | degraded | critical: one by one |
//! | `pids` | threads of the host | degraded | critical: one by one |
//! | `clock` | wall clock against the boot clock | never | never: deadlines are on the boot clock |
//! | `relay` | a call each second | degraded | never: critical restarts the relay |
//! | `route` | egress routes | never: what is lost is not given | critical: those on it |
//! | `teardown` | the oldest instance that does not go | critical | never |

mod config;
mod facts;
mod judge;
mod pulse;
mod sample;
mod steady;

use std::{fmt, time::Duration};

use time::OffsetDateTime;

pub use config::Config;
pub use facts::{Beat, Facts, Filesystem, Jump, Kernel, LostRoute, Memory, Stuck, Usage};
pub use judge::{Finding, judge};
pub use pulse::Pulse;
pub use sample::{Sampler, thread_limit};

use self::steady::Steady;

/// One thing about a host that can be well or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Docker answers, and soon.
    Docker,
    /// Docker's own news of deaths is heard.
    DockerEvents,
    /// Memory that could be used without swapping.
    Memory,
    /// How much of the time everything waits for memory.
    MemoryPressure,
    /// Room where the databases and Docker write.
    Disk,
    /// Inodes there.
    Inodes,
    /// File descriptors of this process and of the host.
    Descriptors,
    /// Processes and threads of the host.
    Pids,
    /// The wall clock goes evenly.
    Clock,
    /// The relay answers, and soon.
    Relay,
    /// What the egress routes need of this host is there.
    Route,
    /// What ended is really removed.
    Teardown,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Sessions that live go on; more of them would make it worse.
    Degraded,
    /// Sessions that live cannot all go on.
    Critical,
}

/// Whom a critical condition takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toll {
    /// Nobody.
    Nobody,
    /// One after the other, until it is critical no more.
    OneByOne,
    /// Those whose egress address is lost.
    OnLostRoutes,
    /// All.
    Everybody,
}

/// A condition as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub condition: Condition,
    /// How bad it is.
    pub level: Level,
    /// Since when it has been as bad, for display.
    pub since: OffsetDateTime,
    /// What was measured last, in a sentence.
    pub why: String,
}

/// All conditions of one host.
#[derive(Debug)]
pub struct Monitor {
    config: Config,
    steady: Vec<Steady>,
}

// === impl Condition ===

impl Condition {
    /// Every one, in the order in which they are shown.
    pub const ALL: [Self; 12] = [
        Self::Docker,
        Self::DockerEvents,
        Self::Memory,
        Self::MemoryPressure,
        Self::Disk,
        Self::Inodes,
        Self::Descriptors,
        Self::Pids,
        Self::Clock,
        Self::Relay,
        Self::Route,
        Self::Teardown,
    ];

    /// The word of the API, of metrics and of logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::DockerEvents => "docker_events",
            Self::Memory => "memory",
            Self::MemoryPressure => "memory_pressure",
            Self::Disk => "disk",
            Self::Inodes => "inodes",
            Self::Descriptors => "descriptors",
            Self::Pids => "pids",
            Self::Clock => "clock",
            Self::Relay => "relay",
            Self::Route => "route",
            Self::Teardown => "teardown",
        }
    }

    /// From which level on no session is admitted; `None` for never.
    #[must_use]
    pub const fn stops_admission_at(self) -> Option<Level> {
        match self {
            Self::Docker
            | Self::Memory
            | Self::MemoryPressure
            | Self::Disk
            | Self::Inodes
            | Self::Descriptors
            | Self::Pids
            | Self::Relay => Some(Level::Degraded),
            Self::Teardown => Some(Level::Critical),
            Self::DockerEvents | Self::Clock | Self::Route => None,
        }
    }

    /// Whom it takes when it is critical.
    #[must_use]
    pub const fn toll(self) -> Toll {
        match self {
            Self::Docker => Toll::Everybody,
            Self::Memory
            | Self::MemoryPressure
            | Self::Disk
            | Self::Inodes
            | Self::Descriptors
            | Self::Pids => Toll::OneByOne,
            Self::Route => Toll::OnLostRoutes,
            Self::DockerEvents | Self::Clock | Self::Relay | Self::Teardown => Toll::Nobody,
        }
    }

    /// Whether it measures how long something has been wrong: then the threshold is all the patience
    /// that is due.
    const fn is_timed(self) -> bool {
        matches!(
            self,
            Self::Docker
                | Self::DockerEvents
                | Self::Clock
                | Self::Relay
                | Self::Route
                | Self::Teardown
        )
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Level ===

impl Level {
    /// The word of the API and of logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Standing ===

impl Standing {
    /// Whether no session is admitted while it stands.
    #[must_use]
    pub fn stops_admission(&self) -> bool {
        let from = self.condition.stops_admission_at();
        from.is_some_and(|from| self.level >= from)
    }
}

// === impl Monitor ===

impl Monitor {
    /// Everything is well until something else is seen.
    #[must_use]
    pub fn new(config: Config, wall: OffsetDateTime) -> Self {
        let steady = Condition::ALL.map(|condition| Steady::new(condition, wall));
        Self {
            config,
            steady: steady.into(),
        }
    }

    /// What stands after these facts, seen `at` on a clock that never jumps; answers which of it
    /// changed its level.
    pub fn observe(&mut self, facts: &Facts, at: Duration, wall: OffsetDateTime) -> Vec<Condition> {
        let mut changed = Vec::new();
        for steady in &mut self.steady {
            let Standing {
                condition, level, ..
            } = *steady.standing();
            let finding = judge(condition, facts, &self.config, level);
            let worse = if condition.is_timed() {
                Duration::ZERO
            } else {
                // Two samples in a row, wherever the timer put them.
                self.config.sample_interval / 2
            };
            let patience = (worse, self.config.recovery);
            if steady.observe(finding, (at, wall), patience) {
                changed.push(condition);
            }
        }
        changed
    }

    /// Every condition as it stands.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let all = self.steady.iter();
        all.map(|steady| steady.standing().clone()).collect()
    }
}
