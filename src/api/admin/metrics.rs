//! `/metrics`: counters of the control plane where there is one, the rest read from the node at each
//! scrape.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

use super::{
    operations::OperationsGauges, pool::PoolGauges, routes::RouteCounters, sessions::SessionGauges,
};
use crate::{
    control::Counts,
    relay::egress::Reason,
    tls::{Identity, Shown},
    wire::node as pb,
};

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Number = Gauge<u64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    condition: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Address {
    ip: String,
}

/// What the node said last.
#[derive(Debug, Clone, Default)]
struct NodeGauges {
    up: Number,
    ready: Number,
    sessions: Family<Phase, Number>,
    sessions_max: Number,
    address_usable: Family<Address, Number>,
    address_sessions: Family<Address, Number>,
    /// Counted in the relay; here it is only shown.
    egress_refused: Family<Refused, Counter>,
    oom_kills: Counter,
    orphans_removed: Counter,
    condition: Family<Named, Number>,
    pool: PoolGauges,
    operations: OperationsGauges,
    routes: RouteCounters,
    each: SessionGauges,
    admitting: Number,
    memory_available: Number,
    memory_total: Number,
}

/// The registry and its gauges.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    registry: Arc<Registry>,
    node: NodeGauges,
    shown: Shown,
    expiry: Number,
}

impl Metrics {
    /// With the counters of a control plane, where there is one.
    pub(super) fn new(counts: Option<&Counts>, shown: Shown) -> Self {
        let mut registry = Registry::with_prefix("chaser");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "This program", build);
        let expiry = Number::default();
        registry.register(
            "tls_expiry_timestamp_seconds",
            "When the certificate of this process expires; 0 without TLS",
            expiry.clone(),
        );
        if let Some(counts) = counts {
            counts.register(&mut registry);
        }
        let node = NodeGauges::default();
        node.register(registry.sub_registry_with_prefix("node"));
        Self {
            registry: Arc::new(registry),
            node,
            shown,
            expiry,
        }
    }

    /// The text, with the gauges of a node that answered.
    pub(super) fn render(
        &self,
        node: Option<&pb::GetNodeResponse>,
        sessions: &[pb::Session],
    ) -> Result<String, fmt::Error> {
        let shown = self.shown.borrow().as_ref().map(Identity::expires_at);
        let expiry = shown.and_then(|at| at.unix_timestamp().try_into().ok());
        self.expiry.set(expiry.unwrap_or(0));
        self.node.set(node);
        self.node.each.set(sessions);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl NodeGauges {
    fn register(&self, registry: &mut Registry) {
        self.pool
            .register(registry.sub_registry_with_prefix("pool"));
        self.operations.register(registry);
        self.routes.register(registry);
        self.each.register(registry);
        // A counter that is not there before its first event has no rate.
        for reason in Reason::ALL {
            let reason = reason.as_str().to_owned();
            drop(self.egress_refused.get_or_create(&Refused { reason }));
        }
        registry.register("up", "Whether the node answers", self.up.clone());
        registry.register("ready", "Whether the node takes orders", self.ready.clone());
        registry.register(
            "sessions",
            "Sessions and instances by phase",
            self.sessions.clone(),
        );
        registry.register(
            "sessions_max",
            "Sessions that fit",
            self.sessions_max.clone(),
        );
        registry.register(
            "egress_address_usable",
            "Whether an egress address can be bound",
            self.address_usable.clone(),
        );
        registry.register(
            "egress_address_sessions",
            "Sessions that leave from an egress address",
            self.address_sessions.clone(),
        );
        registry.register(
            "egress_refused",
            "Requests of pages that the egress policy refused since the relay started",
            self.egress_refused.clone(),
        );
        registry.register(
            "oom_kills",
            "Processes in containers killed because the container's memory ran out, since the agent started",
            self.oom_kills.clone(),
        );
        registry.register(
            "orphans_removed",
            "Containers of this node that nobody knew, removed since the agent started",
            self.orphans_removed.clone(),
        );
        registry.register(
            "condition",
            "How the host fares: 0 ok, 1 degraded, 2 critical",
            self.condition.clone(),
        );
        registry.register(
            "admitting",
            "Whether the host's conditions let sessions in",
            self.admitting.clone(),
        );
        registry.register(
            "memory_available_bytes",
            "Memory of the host that is free or can be freed",
            self.memory_available.clone(),
        );
        registry.register(
            "memory_total_bytes",
            "Memory of the host",
            self.memory_total.clone(),
        );
    }

    fn set(&self, node: Option<&pb::GetNodeResponse>) {
        self.up.set(node.is_some().into());
        let Some(node) = node else {
            self.ready.set(0);
            return;
        };
        self.ready
            .set((node.state() == pb::NodeState::Ready).into());
        for (phase, count) in [
            ("creating", node.creating),
            ("ready", node.ready),
            ("closing", node.closing),
            ("destroying", node.destroying),
        ] {
            self.sessions
                .get_or_create(&Phase { phase })
                .set(count.into());
        }
        for condition in &node.conditions {
            let level = match condition.level() {
                pb::ConditionLevel::Unspecified | pb::ConditionLevel::Ok => 0,
                pb::ConditionLevel::Degraded => 1,
                pb::ConditionLevel::Critical => 2,
            };
            let condition = condition.name.clone();
            self.condition
                .get_or_create(&Named { condition })
                .set(level);
        }
        self.admitting.set(node.admission_stopped.is_empty().into());
        self.sessions_max.set(node.max_sessions.into());
        self.pool.set(&node.pool);
        // Absent while it starts.
        if let Some(operations) = &node.operations {
            self.operations.set(operations);
            self.routes.set(&operations.routes);
        }
        self.memory_available.set(node.memory_available_bytes);
        self.memory_total.set(node.memory_total_bytes);
        let counted = |counter: &Counter, count| counter.inner().store(count, Ordering::Relaxed);
        counted(&self.oom_kills, node.oom_kills);
        counted(&self.orphans_removed, node.orphans_removed);
        for (reason, count) in &node.egress_refused {
            let reason = reason.clone();
            let refused = self.egress_refused.get_or_create(&Refused { reason });
            refused.inner().store(*count, Ordering::Relaxed);
        }
        for address in &node.egress_addresses {
            let label = Address {
                ip: address.ip.clone(),
            };
            let usable = self.address_usable.get_or_create(&label);
            usable.set(address.usable.into());
            drop(usable);
            let sessions = self.address_sessions.get_or_create(&label);
            sessions.set(address.sessions.into());
        }
    }
}
