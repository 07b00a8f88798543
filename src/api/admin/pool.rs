//! The warm pool's metrics, read from the node at each scrape.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::wire::node as pb;

type Number = Gauge<u64, AtomicU64>;
type Seconds = Gauge<f64, AtomicU64>;
type Time = Counter<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    profile: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Slots {
    profile: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Claim {
    profile: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Retired {
    profile: String,
    reason: String,
}

/// What the node said last. Counters are counted there; here they are only shown.
#[derive(Debug, Clone, Default)]
pub(super) struct PoolGauges {
    slots: Family<Slots, Number>,
    target: Family<Of, Number>,
    oldest: Family<Of, Seconds>,
    claims: Family<Claim, Counter>,
    refills: Family<Of, Counter>,
    refilling: Family<Of, Time>,
    retired: Family<Retired, Counter>,
}

impl PoolGauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("slots", "Browsers of the warm pool", self.slots.clone());
        registry.register("target", "How many there should be", self.target.clone());
        registry.register_with_unit(
            "oldest_age",
            "How long the oldest has been there",
            Unit::Seconds,
            self.oldest.clone(),
        );
        registry.register(
            "claims",
            "Orders of a kept profile, by what they found: one, a boot under way, or neither",
            self.claims.clone(),
        );
        registry.register("refills", "How many became ready", self.refills.clone());
        registry.register_with_unit(
            "refilling",
            "How long they took to become ready, together",
            Unit::Seconds,
            self.refilling.clone(),
        );
        registry.register(
            "retired",
            "How many were taken down unused, by reason",
            self.retired.clone(),
        );
    }

    pub(super) fn set(&self, pool: &[pb::PoolProfile]) {
        for of in pool {
            let label = Of {
                profile: of.profile.clone(),
            };
            self.target.get_or_create(&label).set(of.target.into());
            self.oldest.get_or_create(&label).set(seconds(of.oldest));
            show(&self.refills.get_or_create(&label), of.refills);
            super::show_seconds(&self.refilling.get_or_create(&label), seconds(of.refilling));
            for (state, count) in [("parked", of.parked), ("starting", of.starting)] {
                let profile = of.profile.clone();
                let slots = self.slots.get_or_create(&Slots { profile, state });
                slots.set(count.into());
            }
            for (outcome, count) in [
                ("hit", of.hits),
                ("taken_over", of.taken_over),
                ("miss", of.misses),
            ] {
                let profile = of.profile.clone();
                show(
                    &self.claims.get_or_create(&Claim { profile, outcome }),
                    count,
                );
            }
            for (reason, count) in &of.retired {
                let (profile, reason) = (of.profile.clone(), reason.clone());
                show(
                    &self.retired.get_or_create(&Retired { profile, reason }),
                    *count,
                );
            }
        }
    }
}

fn show(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}

fn seconds(of: Option<prost_types::Duration>) -> f64 {
    let of = of.and_then(|of| Duration::try_from(of).ok());
    of.unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn what_the_node_counts_is_what_is_shown() {
        let (gauges, mut registry) = (PoolGauges::default(), Registry::default());
        gauges.register(&mut registry);
        gauges.set(&[pb::PoolProfile {
            profile: "default".to_owned(),
            parked: 3,
            hits: 7,
            taken_over: 4,
            refilling: Duration::from_millis(1500).try_into().ok(),
            retired: std::collections::HashMap::from([("aged".to_owned(), 2)]),
            ..pb::PoolProfile::default()
        }]);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "slots{profile=\"default\",state=\"parked\"} 3",
            "claims_total{profile=\"default\",outcome=\"hit\"} 7",
            "claims_total{profile=\"default\",outcome=\"taken_over\"} 4",
            "refilling_seconds_total{profile=\"default\"} 1.5",
            "retired_total{profile=\"default\",reason=\"aged\"} 2",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
