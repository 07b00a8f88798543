//! What each session takes of the host: bounded, however many there are.
//!
//! A session is named by the first groups of its id, as in the log: the whole id would let whoever
//! reads metrics enter it.

use std::{cmp::Reverse, sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::{model::SessionId, wire::node as pb};

/// More sessions than these are not shown one by one: the largest are.
const SHOWN: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    session: String,
    profile: String,
}

/// What the node said last.
#[derive(Debug, Clone, Default)]
pub(super) struct SessionGauges {
    memory: Family<Of, Gauge<u64, AtomicU64>>,
    cpu: Family<Of, Counter<f64, AtomicU64>>,
    clients: Gauge<u64, AtomicU64>,
    connections: Gauge<u64, AtomicU64>,
    hidden: Gauge<u64, AtomicU64>,
}

impl SessionGauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "session_memory",
            "Memory that a session's container is charged with; the largest sessions",
            Unit::Bytes,
            self.memory.clone(),
        );
        registry.register_with_unit(
            "session_cpu",
            "CPU time of a session's container; the same sessions",
            Unit::Seconds,
            self.cpu.clone(),
        );
        registry.register(
            "sessions_not_shown",
            "Sessions without figures of their own here",
            self.hidden.clone(),
        );
        registry.register(
            "cdp_clients",
            "CDP clients that are attached to sessions",
            self.clients.clone(),
        );
        registry.register(
            "egress_connections",
            "Connections of the egress leg that are open",
            self.connections.clone(),
        );
    }

    pub(super) fn set(&self, sessions: &[pb::Session]) {
        let seen = sessions.iter().filter_map(|session| {
            let id: SessionId = session.id.parse().ok()?;
            let profile = session.spec.as_ref()?.profile.clone();
            let session_label = id.to_string().trim_end_matches('…').to_owned();
            let of = Of {
                session: session_label,
                profile,
            };
            Some((of, session.usage.as_ref()?))
        });
        let mut seen: Vec<_> = seen.collect();
        seen.sort_by_key(|(_, usage)| Reverse(usage.memory_bytes));
        let clients = seen.iter().map(|(_, usage)| usage.cdp_clients).sum();
        self.clients.set(clients);
        let connections = seen.iter().map(|(_, usage)| usage.connections).sum();
        self.connections.set(connections);
        self.memory.clear();
        self.cpu.clear();
        let shown = seen.len().min(SHOWN);
        for (of, usage) in &seen[..shown] {
            self.memory.get_or_create(of).set(usage.memory_bytes);
            let cpu = usage.cpu.and_then(|cpu| Duration::try_from(cpu).ok());
            super::show_seconds(
                &self.cpu.get_or_create(of),
                cpu.unwrap_or_default().as_secs_f64(),
            );
        }
        let hidden = sessions.len() - shown;
        self.hidden.set(u64::try_from(hidden).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    /// Sessions whose printed groups differ as their memory does.
    fn session(memory_bytes: u64) -> pb::Session {
        pb::Session {
            id: format!("sess_019ec0d0-a88a-7{memory_bytes:03x}-9741-8030dc82a854"),
            spec: Some(pb::SessionSpec {
                profile: "default".to_owned(),
                ..pb::SessionSpec::default()
            }),
            usage: Some(pb::Usage {
                memory_bytes,
                cpu: Duration::from_millis(1500).try_into().ok(),
                cdp_clients: 2,
                connections: 3,
            }),
            ..pb::Session::default()
        }
    }

    fn text(sessions: &[pb::Session]) -> String {
        let (gauges, mut registry) = (SessionGauges::default(), Registry::default());
        gauges.register(&mut registry);
        // What was said before is forgotten.
        gauges.set(&[session(7)]);
        gauges.set(sessions);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn no_metric_lets_its_reader_into_a_session() {
        let one = session(4095);
        let text = text(std::slice::from_ref(&one));
        let (prefix, secret) = one.id.split_at(23);
        assert!(!text.contains(secret), "{text}");
        for line in [
            format!("session_memory_bytes{{session=\"{prefix}\",profile=\"default\"}} 4095"),
            format!("session_cpu_seconds_total{{session=\"{prefix}\",profile=\"default\"}} 1.5"),
            "cdp_clients 2".to_owned(),
            "egress_connections 3".to_owned(),
            "sessions_not_shown 0".to_owned(),
        ] {
            assert!(text.contains(&line), "{line}: {text}");
        }
    }

    #[test]
    fn a_thousand_sessions_are_not_a_thousand_series() {
        let many: Vec<_> = (1..=1000).map(session).collect();
        let text = text(&many);
        let shown = text.matches("session_memory_bytes{").count();
        assert_eq!(shown, SHOWN);
        assert!(text.contains("sessions_not_shown 744"), "{text}");
        assert!(text.contains("} 1000\n"), "the largest are shown");
        assert!(!text.contains("} 744\n"), "the smallest are not");
    }
}
