//! Whether a route works: pure, from what connections by way of it came to.
//!
//! ```text
//!             3 faults in a row                    its rest is over
//!   Well ───────────────────────▶ Quarantined ───────────────────────▶ OnTrial
//!    ▲                                 ▲            one more fault        │
//!    │                                 └──────── twice the rest ──────────┤
//!    └──────────────────────── 2 good ones in a row ──────────────────────┘
//! ```
//!
//! Only what the route is to blame for counts: a target that is down says nothing of the way there. A
//! quarantined route is given to nobody; whoever has it keeps it, and a good connection at any time is
//! the end of its *outage*. An outage that lasts longer than its grace ends the sessions on it; that is
//! not decided here.

use std::{fmt, time::Duration};

use crate::model::BootInstant;

/// So many faults in a row are no accident.
const FAULTS: u32 = 3;
/// So many good ones in a row are a recovery.
const GOOD: u32 = 2;
const FIRST_REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_secs(600);

/// Why a connection by way of a route failed, where the route is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Its upstream cannot be connected to.
    Unreachable,
    /// Its upstream does not answer in time.
    TimedOut,
    /// Its upstream does not take the login.
    Auth,
    /// Its upstream does not serve, or speaks something else.
    Refused,
}

impl Fault {
    /// Every one, in the order of their declaration.
    pub const ALL: [Self; 4] = [Self::Unreachable, Self::TimedOut, Self::Auth, Self::Refused];

    /// From the relay's word for a refusal; `None` where the route is not to blame.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "upstream_unreachable" => Some(Self::Unreachable),
            "upstream_timeout" => Some(Self::TimedOut),
            "upstream_auth" => Some(Self::Auth),
            "upstream_refused" => Some(Self::Refused),
            _ => None,
        }
    }

    /// Whether the relay's word for a refusal says that the target could not be connected to.
    #[must_use]
    pub fn is_of_target(word: &str) -> bool {
        let words = [
            "unresolved",
            "resolve_timeout",
            "connect_failed",
            "connect_timeout",
        ];
        words.contains(&word)
    }

    /// The word for people and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Auth => "auth_failed",
            Self::Refused => "refused",
        }
    }

    /// Whether a bare connection to the upstream shows that it is over.
    #[must_use]
    pub const fn ends_with_a_connection(self) -> bool {
        match self {
            Self::Unreachable | Self::TimedOut => true,
            Self::Auth | Self::Refused => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a route stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It works, as far as is known.
    Well,
    /// It is given to nobody for so much longer.
    Quarantined(Duration),
    /// It may be given again, and one more fault sends it back.
    OnTrial,
}

/// What is known of one route.
#[derive(Debug, Clone, Default)]
pub struct Health {
    served: u64,
    failed: [u64; Fault::ALL.len()],
    target_failed: u64,
    in_a_row: u32,
    good: u32,
    /// When the first fault of those in a row was.
    since: Option<BootInstant>,
    last: Option<Fault>,
    /// Until when it rests, and how often that was said in a row.
    rest: Option<(BootInstant, u32)>,
}

impl Health {
    /// So many connections were made by way of it.
    pub fn served(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        self.served += count;
        (self.in_a_row, self.since) = (0, None);
        if self.rest.is_none() {
            self.last = None;
            return;
        }
        self.good = self
            .good
            .saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if self.good >= GOOD {
            (self.rest, self.good, self.last) = (None, 0, None);
        }
    }

    /// So many connections failed like this.
    pub fn failed(&mut self, fault: Fault, count: u64, now: BootInstant) {
        if count == 0 {
            return;
        }
        self.failed[fault as usize] += count;
        self.good = 0;
        self.last = Some(fault);
        self.since.get_or_insert(now);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.in_a_row = self.in_a_row.saturating_add(count);
        match self.rest {
            // While it rests, more of the same is no news.
            Some((until, _)) if left(until, now).is_some() => {}
            Some((_, times)) => self.rest = Some((now.after(rest(times)), times + 1)),
            None if self.in_a_row >= FAULTS => self.rest = Some((now.after(rest(0)), 1)),
            None => {}
        }
    }

    /// So many connections failed by their target's fault, which says nothing of the way there.
    pub const fn target_failed(&mut self, count: u64) {
        self.target_failed += count;
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self, now: BootInstant) -> State {
        match self.rest {
            None => State::Well,
            Some((until, _)) => left(until, now).map_or(State::OnTrial, State::Quarantined),
        }
    }

    /// Whether anything speaks against it: then it is worth a look.
    #[must_use]
    pub const fn ails(&self) -> bool {
        self.rest.is_some() || self.in_a_row > 0
    }

    /// For how long nothing has gone by way of it although it was tried often enough.
    #[must_use]
    pub fn outage(&self, now: BootInstant) -> Option<Duration> {
        let since = self.since.filter(|_| self.in_a_row >= FAULTS)?;
        let micros = now.micros.checked_sub(since.micros)?;
        (since.boot == now.boot).then(|| Duration::from_micros(micros))
    }

    /// The last fault, while it matters.
    #[must_use]
    pub const fn last(&self) -> Option<Fault> {
        self.last
    }

    /// Connections that were made, and that failed by the route's fault, since the agent started.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.served, self.failed.iter().sum())
    }

    /// Connections that failed by their target's fault.
    #[must_use]
    pub const fn targets(&self) -> u64 {
        self.target_failed
    }

    /// Connections that failed by the route's fault, by what was wrong.
    pub fn faults(&self) -> impl Iterator<Item = (Fault, u64)> + '_ {
        Fault::ALL.into_iter().zip(self.failed)
    }
}

fn left(until: BootInstant, now: BootInstant) -> Option<Duration> {
    until.until(now).filter(|left| !left.is_zero())
}

fn rest(times: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(times.min(16));
    FIRST_REST.saturating_mul(doubled).min(LONGEST_REST)
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
