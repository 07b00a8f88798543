//! What has ended since the agent started, as it was published.

use std::collections::BTreeMap;

use super::Snapshot;
use crate::model::{Phase, Traffic};

/// How a session ended: reason, whose fault a failure was (`none` without one), and substrate.
type Ending = (&'static str, &'static str, &'static str);

/// The endings of one agent, and the bytes of the sessions that ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many ended each way.
    pub endings: BTreeMap<Ending, u64>,
    /// Bytes of all of them together.
    pub traffic: Traffic,
    /// Those that had a route, by its name.
    pub routes: BTreeMap<String, Carried>,
}

/// What one route has carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Sessions.
    pub sessions: u64,
    /// Their bytes.
    pub traffic: Traffic,
}

impl Carried {
    /// And one session more.
    pub fn add(&mut self, traffic: Traffic) {
        self.sessions += 1;
        self.traffic = self.traffic.plus(traffic);
    }
}

impl Tally {
    /// Counts what was published, where it is an ending.
    pub(super) fn note(&mut self, session: &Snapshot) {
        let (Phase::Ended, Some(reason)) = (session.phase, session.end_reason) else {
            return;
        };
        let failure = session.failure.as_ref();
        let blame = failure.map_or("none", |failure| failure.blame.as_str());
        let ending = (reason.as_str(), blame, session.spec.substrate.as_str());
        *self.endings.entry(ending).or_default() += 1;
        self.traffic = self.traffic.plus(session.traffic);
        if let Some(route) = &session.route {
            let carried = self.routes.entry(route.clone()).or_default();
            carried.add(session.traffic);
        }
    }
}
