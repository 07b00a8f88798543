//! What has ended, how many bytes went, who waits for what, and what an autoscaler wants to know.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::steps::StepHistograms;
use crate::wire::node as pb;

type Number = Gauge<u64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    reason: String,
    blame: String,
    substrate: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Bytes {
    leg: &'static str,
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waiting {
    resource: String,
    share: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Hook {
    target: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HookOutcome {
    target: String,
    outcome: &'static str,
}

/// What the node said last. Counters are counted there; here they are only shown.
#[derive(Debug, Clone, Default)]
pub(super) struct OperationsGauges {
    ended: Family<Ended, Counter>,
    bytes: Family<Bytes, Counter>,
    connections: Counter,
    pressure: Family<Waiting, Gauge<f64, AtomicU64>>,
    stalled: Family<Waiting, Counter<f64, AtomicU64>>,
    free: Number,
    free_warm: Number,
    pending_claims: Number,
    draining: Number,
    safe_to_terminate: Number,
    steps: StepHistograms,
    hooks_pending: Family<Hook, Number>,
    hooks: Family<HookOutcome, Counter>,
}

impl OperationsGauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "sessions_ended",
            "Sessions that ended since the agent started",
            self.ended.clone(),
        );
        registry.register(
            "traffic_bytes",
            "Bytes of all sessions, ended or not: of the egress leg and of CDP",
            self.bytes.clone(),
        );
        registry.register(
            "traffic_connections",
            "Connections of the egress leg that all sessions have made, ended or not",
            self.connections.clone(),
        );
        registry.register(
            "pressure_ratio",
            "Share of the last ten seconds in which tasks of the host waited (PSI)",
            self.pressure.clone(),
        );
        registry.register_with_unit(
            "pressure_stalled",
            "How long tasks of the host have waited (PSI)",
            Unit::Seconds,
            self.stalled.clone(),
        );
        for (name, help, gauge) in [
            (
                "sessions_free",
                "Sessions that would be taken now",
                &self.free,
            ),
            (
                "sessions_warm",
                "Browsers that stand ready for an order",
                &self.free_warm,
            ),
            (
                "pending_claims",
                "Sessions ordered and not ready yet",
                &self.pending_claims,
            ),
            (
                "draining",
                "Whether it is being drained, or was",
                &self.draining,
            ),
            (
                "safe_to_terminate",
                "Whether nothing is lost if the host goes",
                &self.safe_to_terminate,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "hooks_pending",
            "Letters of hooks that wait for their receiver",
            self.hooks_pending.clone(),
        );
        registry.register(
            "hooks",
            "Letters of hooks that were delivered or dropped, and attempts that failed",
            self.hooks.clone(),
        );
        registry.register_collector(Box::new(self.steps.clone()));
    }

    pub(super) fn set(&self, node: &pb::Operations) {
        for of in &node.ended {
            let ended = Ended {
                reason: of.reason.clone(),
                blame: of.blame.clone(),
                substrate: of.substrate.clone(),
            };
            let counter = self.ended.get_or_create(&ended);
            counter.inner().store(of.count, Ordering::Relaxed);
        }
        let traffic = node.traffic.unwrap_or_default();
        for (leg, direction, bytes) in [
            ("egress", "up", traffic.up),
            ("egress", "down", traffic.down),
            ("cdp", "up", traffic.cdp_up),
            ("cdp", "down", traffic.cdp_down),
        ] {
            // A session that ends between two counts is missing from one of them: never go back.
            let counter = self.bytes.get_or_create(&Bytes { leg, direction });
            counter.inner().fetch_max(bytes, Ordering::Relaxed);
        }
        let made = self.connections.inner();
        made.fetch_max(traffic.connections, Ordering::Relaxed);
        for of in &node.pressure {
            let waiting = Waiting {
                resource: of.resource.clone(),
                share: of.share.clone(),
            };
            let ratio = self.pressure.get_or_create(&waiting);
            ratio.set(of.last_ten_seconds);
            drop(ratio);
            let stalled = of.stalled.and_then(|time| Duration::try_from(time).ok());
            let seconds = stalled.unwrap_or_default().as_secs_f64();
            super::show_seconds(&self.stalled.get_or_create(&waiting), seconds);
        }
        let capacity = node.capacity.unwrap_or_default();
        self.free.set(capacity.free.into());
        self.free_warm.set(capacity.free_warm.into());
        self.pending_claims.set(capacity.pending_claims.into());
        self.draining.set(capacity.draining.into());
        self.safe_to_terminate
            .set(capacity.safe_to_terminate.into());
        self.steps.set(&node.steps);
        for of in &node.hooks {
            let target = of.target.clone();
            let pending = self.hooks_pending.get_or_create(&Hook {
                target: target.clone(),
            });
            pending.set(of.pending);
            for (outcome, count) in [
                ("delivered", of.delivered),
                ("failed", of.failed),
                ("dropped", of.dropped),
            ] {
                let target = target.clone();
                let counter = self.hooks.get_or_create(&HookOutcome { target, outcome });
                counter.inner().store(count, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn traffic_never_goes_back_and_a_histogram_is_cumulative() {
        let (gauges, mut registry) = (OperationsGauges::default(), Registry::default());
        gauges.register(&mut registry);
        let node = |down| pb::Operations {
            traffic: Some(pb::Traffic {
                down,
                connections: down / 100,
                ..pb::Traffic::default()
            }),
            steps: vec![pb::StepTimes {
                way: "claim".to_owned(),
                step: "bind".to_owned(),
                seconds: 2.5,
                bounds: vec![0.5, 1.0],
                buckets: vec![3, 1, 2],
            }],
            ..pb::Operations::default()
        };
        gauges.set(&node(900));
        gauges.set(&node(700));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "traffic_bytes_total{leg=\"egress\",direction=\"down\"} 900",
            "traffic_connections_total 9",
            "step_seconds_bucket{le=\"1.0\",way=\"claim\",step=\"bind\"} 4",
            "step_seconds_bucket{le=\"+Inf\",way=\"claim\",step=\"bind\"} 6",
            "step_seconds_count{way=\"claim\",step=\"bind\"} 6",
            "step_seconds_sum{way=\"claim\",step=\"bind\"} 2.5",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
