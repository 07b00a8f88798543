//! What the control plane counts, under its own prefix.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::{Change, ControlError, Status};
use crate::model::EndReason;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    reason: &'static str,
    blame: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Bytes {
    direction: &'static str,
}

/// Counters since the start of the process.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    created: Counter,
    ready: Counter,
    ended: Family<Ended, Counter>,
    refused: Family<Refused, Counter>,
    bytes: Family<Bytes, Counter>,
}

impl Counts {
    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let sessions = registry.sub_registry_with_prefix("sessions");
        sessions.register("created", "Sessions ordered", self.created.clone());
        sessions.register(
            "became_ready",
            "Sessions that became ready",
            self.ready.clone(),
        );
        sessions.register(
            "ended",
            "Sessions that ended, by reason",
            self.ended.clone(),
        );
        sessions.register(
            "egress_bytes",
            "Egress bytes of sessions, as they became known",
            self.bytes.clone(),
        );
        let api = registry.sub_registry_with_prefix("api");
        api.register("refused", "Requests refused, by code", self.refused.clone());
    }

    pub(super) fn created(&self) {
        self.created.inc();
    }

    /// Counts a refusal.
    pub fn refused(&self, error: &ControlError) {
        self.refused_as(error.code());
    }

    /// Counts a refusal by its public word.
    pub fn refused_as(&self, code: &'static str) {
        self.refused.get_or_create(&Refused { code }).inc();
    }

    pub(super) fn changed(&self, change: &Change) {
        let (before, after) = (&change.before, &change.after);
        if before == after {
            return;
        }
        if before.ready_at.is_none() && after.ready_at.is_some() {
            self.ready.inc();
        }
        for (direction, more) in [
            ("up", after.traffic.up.saturating_sub(before.traffic.up)),
            (
                "down",
                after.traffic.down.saturating_sub(before.traffic.down),
            ),
        ] {
            let counter = self.bytes.get_or_create(&Bytes { direction });
            counter.inc_by(more);
        }
        let reason = match after.status {
            Status::Creating | Status::Ready => return,
            Status::Closed(reason) => reason,
            Status::Error => EndReason::Error,
        };
        let blame = after.failure.as_ref().map_or("none", |f| f.blame.as_str());
        let reason = reason.as_str();
        self.ended.get_or_create(&Ended { reason, blame }).inc();
    }
}
