//! What the control plane remembers of a session, and how news of it are folded in.
//!
//! ```text
//!   Creating ──▶ Ready ──▶ Closed(reason)
//!      └───────────┴─────▶ Error(failure)      a terminal record never changes again
//! ```
//!
//! News may come twice, late or out of order (an answer, a replayed event, a listing), so folding is
//! idempotent and never goes backwards; bytes only grow.

use std::{fmt, time::Duration};

use time::OffsetDateTime;

use super::Workspace;
use crate::model::{
    Capabilities, EndReason, Failure, HostTraffic, Phase, Progress, SessionId, Traffic,
};

/// One session as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: SessionId,
    /// Its owner.
    pub workspace: Workspace,
    /// The device profile that was ordered.
    pub profile: String,
    /// The lifetime that was ordered.
    pub ttl: Duration,
    /// Where it is in its life.
    pub status: Status,
    /// The device, from ready on.
    pub device: Option<String>,
    /// Bytes so far; final once it has ended.
    pub traffic: Traffic,
    /// Address that it leaves from, where known.
    pub egress_ip: Option<String>,
    /// Region of that address, where known.
    pub egress_region: Option<String>,
    /// When it was ordered.
    pub created_at: OffsetDateTime,
    /// When it became ready.
    pub ready_at: Option<OffsetDateTime>,
    /// When its lifetime runs out.
    pub expires_at: OffsetDateTime,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
    /// Why it failed before it was ready.
    pub failure: Option<Failure>,
    /// Whether it is charged.
    pub billable: bool,
}

/// The public states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Ordered.
    Creating,
    /// Usable.
    Ready,
    /// Ended for this reason.
    Closed(EndReason),
    /// Failed before it was ready.
    Error,
}

/// What a node knows of a session that lives, and no record keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// Its hosts with the most bytes, where they are counted.
    pub hosts: Vec<HostTraffic>,
    /// How far it is on its way up, where that is known step by step.
    pub progress: Option<Progress>,
    /// What the browser of a device can do.
    pub capabilities: Option<Capabilities>,
}

/// A session as its node tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Its id.
    pub id: SessionId,
    /// Its phase on the node.
    pub phase: Phase,
    /// Why it ended, once it has.
    pub reason: Option<EndReason>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The device, from ready on.
    pub device: Option<String>,
    /// Bytes so far.
    pub traffic: Traffic,
    /// Address that it leaves from.
    pub egress_ip: Option<String>,
    /// Region of that address.
    pub egress_region: Option<String>,
    /// When it became ready.
    pub ready_at: Option<OffsetDateTime>,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
    /// Whether it is charged.
    pub billable: bool,
}

impl Status {
    /// The public word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Closed(_) => "closed",
            Self::Error => "error",
        }
    }

    /// Whether nothing can change any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Creating | Self::Ready => false,
            Self::Closed(_) | Self::Error => true,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Record {
    /// The record after `news`, or `None` where they change nothing.
    #[must_use]
    pub fn fold(&self, news: &Sighting) -> Option<Self> {
        if self.status.is_terminal() || self.id != news.id {
            return None;
        }
        let mut next = self.clone();
        next.traffic = self.traffic.max(news.traffic);
        next.device = news.device.clone().or(next.device);
        // Of one that was moved to another route nothing may be left of the one before.
        if news.phase == Phase::Ready || news.egress_ip.is_some() {
            next.egress_ip.clone_from(&news.egress_ip);
        }
        if news.phase == Phase::Ready || news.egress_region.is_some() {
            next.egress_region.clone_from(&news.egress_region);
        }
        next.ready_at = next.ready_at.or(news.ready_at);
        next.billable = news.billable;
        if next.ready_at.is_some() {
            next.status = Status::Ready;
        }
        if news.phase == Phase::Ended {
            next.ended_at = news.ended_at;
            next.failure.clone_from(&news.failure);
            next.status = match news.reason {
                Some(EndReason::Error) | None => Status::Error,
                Some(reason) => Status::Closed(reason),
            };
        }
        (next != *self).then_some(next)
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
