//! What egress routes have carried, as the node counted it.

use std::sync::atomic::Ordering;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use crate::wire::node as pb;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Moved {
    route: String,
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Made {
    route: String,
    outcome: String,
}

/// By route; a route is there from its first use on.
#[derive(Debug, Clone, Default)]
pub(super) struct RouteCounters {
    sessions: Family<Of, Counter>,
    bytes: Family<Moved, Counter>,
    connections: Family<Made, Counter>,
}

impl RouteCounters {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "route_sessions",
            "Sessions that an egress route has had, since the agent started",
            self.sessions.clone(),
        );
        registry.register(
            "route_bytes",
            "Bytes of the sessions that an egress route has had, since the agent started",
            self.bytes.clone(),
        );
        registry.register(
            "route_connections",
            "Connections by way of an egress route: served, or what was wrong with it, or that their target failed",
            self.connections.clone(),
        );
    }

    pub(super) fn set(&self, routes: &[pb::RouteUse]) {
        let show = |counter: &Counter, count| counter.inner().store(count, Ordering::Relaxed);
        for of in routes {
            let route = || of.route.clone();
            let had = self.sessions.get_or_create(&Of { route: route() });
            show(&had, of.sessions);
            let traffic = of.traffic.unwrap_or_default();
            for (direction, count) in [("up", traffic.up), ("down", traffic.down)] {
                let label = Moved {
                    route: route(),
                    direction,
                };
                show(&self.bytes.get_or_create(&label), count);
            }
            let served = ("served".to_owned(), of.served);
            let targets = ("target_failed".to_owned(), of.target_failed);
            for (outcome, count) in of.faults.clone().into_iter().chain([served, targets]) {
                let label = Made {
                    route: route(),
                    outcome,
                };
                show(&self.connections.get_or_create(&label), count);
            }
        }
    }
}
