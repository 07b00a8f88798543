//! From the model's words to the wire's.

use time::OffsetDateTime;

use super::egress;
use crate::{
    host::monitor::{Level, Standing},
    model::{
        Blame, EndReason, Failure, HostTraffic, InstanceId, Phase, Progress, SessionSpec,
        Substrate, Traffic,
    },
    node::{NodeState, Placement, PoolProfile, Status},
    session::{Event, Item, Moved, SlotChange, Snapshot, Told, What},
    wire::node as pb,
};

pub(super) fn timestamp(at: OffsetDateTime) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.unix_timestamp(),
        nanos: i32::try_from(at.nanosecond()).unwrap_or(0),
    }
}

pub(super) fn duration(of: std::time::Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(of).ok()
}

const fn phase(phase: Phase) -> pb::Phase {
    match phase {
        Phase::Creating => pb::Phase::Creating,
        Phase::Ready => pb::Phase::Ready,
        Phase::Closing => pb::Phase::Closing,
        Phase::Ended => pb::Phase::Ended,
    }
}

const fn end_reason(reason: EndReason) -> pb::EndReason {
    match reason {
        EndReason::ClientDelete => pb::EndReason::ClientDelete,
        EndReason::TtlExpired => pb::EndReason::TtlExpired,
        EndReason::IdleExpired => pb::EndReason::IdleExpired,
        EndReason::AbandonedOrphan => pb::EndReason::AbandonedOrphan,
        EndReason::SubstrateDown => pb::EndReason::SubstrateDown,
        EndReason::QuotaExceeded => pb::EndReason::QuotaExceeded,
        EndReason::Error => pb::EndReason::Error,
    }
}

fn failure(failure: Failure) -> pb::Failure {
    let blame = match failure.blame {
        Blame::Client => pb::Blame::Client,
        Blame::Upstream => pb::Blame::Upstream,
        Blame::Substrate => pb::Blame::Substrate,
        Blame::Host => pb::Blame::Host,
        Blame::Agent => pb::Blame::Agent,
    };
    pb::Failure {
        code: failure.code,
        message: failure.message,
        blame: blame.into(),
    }
}

pub(super) const fn traffic(traffic: Traffic) -> pb::Traffic {
    pb::Traffic {
        up: traffic.up,
        down: traffic.down,
        cdp_up: traffic.cdp_up,
        cdp_down: traffic.cdp_down,
        connections: traffic.connections,
    }
}

const fn substrate(of: Substrate) -> pb::Substrate {
    match of {
        Substrate::Chromium => pb::Substrate::Chromium,
        Substrate::Emulator => pb::Substrate::Emulator,
        Substrate::Redroid => pb::Substrate::Redroid,
        Substrate::Cuttlefish => pb::Substrate::Cuttlefish,
    }
}

/// The order, without its secrets: whoever may read a session need not be able to enter it, nor to
/// use its client's proxy.
fn spec(spec: SessionSpec) -> pb::SessionSpec {
    pb::SessionSpec {
        substrate: substrate(spec.substrate).into(),
        profile: spec.profile,
        ttl: duration(spec.ttl),
        idle_timeout: duration(spec.idle_timeout),
        labels: spec.labels.into_iter().collect(),
        cdp_token: String::new(),
        egress: Some(egress::to_wire(spec.egress)),
    }
}

/// A session as it is.
pub(super) fn session(of: Snapshot) -> pb::Session {
    pb::Session {
        id: of.id.into(),
        phase: phase(of.phase).into(),
        spec: Some(spec(of.spec)),
        device: of.device.unwrap_or_default(),
        browser_version: of.browser_version.unwrap_or_default(),
        egress_ip: of.egress_ip.map_or_else(String::new, |ip| ip.to_string()),
        egress_region: of.egress_region.unwrap_or_default(),
        traffic: Some(traffic(of.traffic)),
        created_at: Some(timestamp(of.created_at)),
        ready_at: of.ready_at.map(timestamp),
        expires_at: Some(timestamp(of.expires_at)),
        ended_at: of.ended_at.map(timestamp),
        end_reason: of
            .end_reason
            .map_or(pb::EndReason::Unspecified, end_reason)
            .into(),
        failure: of.failure.map(failure),
        billable: of.billable,
        usage: of.usage.map(super::operations::usage),
        hosts: of.hosts.into_iter().map(host).collect(),
        progress: of.progress.map(progress),
        capabilities: of.capabilities.map(|of| pb::Capabilities {
            browser_contexts: of.browser_contexts,
            downloads: of.downloads,
        }),
    }
}

fn progress(of: Progress) -> pb::Progress {
    pb::Progress {
        step: of.step,
        doing: of.doing,
        since: Some(timestamp(of.since)),
        limit: duration(of.limit),
    }
}

fn host(of: HostTraffic) -> pb::HostTraffic {
    pb::HostTraffic {
        host: of.host.unwrap_or_default(),
        up: of.up,
        down: of.down,
    }
}

/// One word of a watch.
pub(super) fn told(told: Told) -> pb::WatchResponse {
    match told {
        Told::Item(of) => item(of),
        Told::Moved(of) => pb::WatchResponse {
            item: Some(pb::watch_response::Item::Meters(meters(of))),
        },
    }
}

fn meters(of: Moved) -> pb::Meters {
    let sessions = of.sessions.into_iter().map(|(id, moved)| pb::SessionMeter {
        session_id: id.into(),
        traffic: Some(traffic(moved)),
    });
    pb::Meters {
        at: Some(timestamp(of.at)),
        sessions: sessions.collect(),
    }
}

fn item(item: Item) -> pb::WatchResponse {
    use pb::{event, watch_response};
    let item = match item {
        Item::Gap { oldest_seq } => watch_response::Item::Gap(pb::Gap { oldest_seq }),
        Item::Event(Event { seq, at, what }) => watch_response::Item::Event(pb::Event {
            seq,
            at: Some(timestamp(at)),
            what: Some(match what {
                What::Session(snapshot) => event::What::Session(session(*snapshot)),
                What::Duty { duty, sessions } => {
                    event::What::Duty(super::duty::duty(duty, sessions))
                }
                What::SubstrateDown {
                    cause,
                    condition,
                    sessions,
                } => event::What::SubstrateDown(pb::SubstrateDown {
                    cause,
                    session_ids: sessions.into_iter().map(String::from).collect(),
                    condition: condition.map_or_else(String::new, |c| c.to_string()),
                }),
                What::Condition(standing) => event::What::Condition(condition(standing)),
                What::Orphan {
                    instance,
                    container,
                } => event::What::Orphan(pb::Orphan {
                    instance_id: instance.to_string(),
                    container_name: container,
                }),
                What::Rerouted {
                    session,
                    from,
                    to,
                    cause,
                } => event::What::Rerouted(pb::Rerouted {
                    session_id: session.into(),
                    from,
                    to,
                    cause,
                }),
                What::Slot {
                    instance,
                    profile,
                    change,
                } => event::What::Slot(slot_changed(instance, profile, change)),
            }),
        }),
    };
    pb::WatchResponse { item: Some(item) }
}

/// Where a session lives.
pub(super) fn placement(of: Placement) -> pb::InspectSessionResponse {
    pb::InspectSessionResponse {
        session_id: of.session.into(),
        instance_id: of.instance.map_or_else(String::new, |id| id.to_string()),
        container_name: of.container_name.unwrap_or_default(),
        container_id: of.container_id.unwrap_or_default(),
        container_pid: of.container_pid.unwrap_or_default(),
        route: of.route,
        relay_pid: of.relay_pid,
        relay_id: of.relay_id,
    }
}

fn condition(of: Standing) -> pb::Condition {
    let level = match of.level {
        Level::Ok => pb::ConditionLevel::Ok,
        Level::Degraded => pb::ConditionLevel::Degraded,
        Level::Critical => pb::ConditionLevel::Critical,
    };
    pb::Condition {
        name: of.condition.as_str().to_owned(),
        level: level.into(),
        since: Some(timestamp(of.since)),
        why: of.why,
    }
}

fn slot_changed(instance: InstanceId, profile: String, change: SlotChange) -> pb::SlotChanged {
    let (change, why) = match change {
        SlotChange::Added => ("added", ""),
        SlotChange::Claimed => ("claimed", ""),
        SlotChange::Retired(why) => ("retired", why),
    };
    pb::SlotChanged {
        instance_id: instance.to_string(),
        profile,
        change: change.to_owned(),
        why: why.to_owned(),
    }
}

fn pool_profile(of: PoolProfile) -> pb::PoolProfile {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    pb::PoolProfile {
        profile: of.profile,
        target: of.target,
        parked: count(of.parked),
        starting: count(of.starting),
        hits: of.hits,
        misses: of.misses,
        taken_over: of.taken_over,
        refills: of.refills,
        refilling: duration(of.refilling),
        last_refill: of.last_refill.and_then(duration),
        oldest: of.oldest.and_then(duration),
        retired: (of.retired.into_iter())
            .map(|(why, count)| (why.to_owned(), count))
            .collect(),
    }
}

/// The node itself.
pub(super) fn status(of: Status) -> pb::GetNodeResponse {
    let (state, state_reason) = match of.state {
        NodeState::Starting => (pb::NodeState::Starting, String::new()),
        NodeState::Ready => (pb::NodeState::Ready, String::new()),
        NodeState::NotReady(why) => (pb::NodeState::NotReady, why),
    };
    let addresses = of.addresses.into_iter().map(|address| pb::EgressAddress {
        ip: address.ip.to_string(),
        usable: address.usable,
        sessions: address.sessions,
        cooling_until: address.cooling_until.map(timestamp),
    });
    let live = [of.creating, of.ready, of.closing].map(|count| count as usize);
    let live = live.iter().sum();
    pb::GetNodeResponse {
        node_id: of.node_id.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: state.into(),
        state_reason,
        max_sessions: of.max_sessions,
        creating: of.creating,
        ready: of.ready,
        closing: of.closing,
        destroying: of.destroying,
        egress_addresses: addresses.collect(),
        relay_pid: of.relay_pid,
        relay_id: of.relay_id,
        image: of.image,
        cdp_address: of.cdp_address,
        memory_available_bytes: of.memory_available,
        memory_total_bytes: of.memory_total,
        egress_refused: of.egress_refused.into_iter().collect(),
        oom_kills: of.oom_kills,
        orphans_removed: of.orphans_removed,
        journal_damage: of.journal_damage.unwrap_or_default(),
        duty: Some(super::duty::duty(of.duty, live)),
        lease: of.lease.map(super::duty::lease),
        conditions: of.conditions.into_iter().map(condition).collect(),
        admission_stopped: of.admission_stopped.unwrap_or_default(),
        pool: of.pool.into_iter().map(pool_profile).collect(),
        operations: Some(super::operations::operations(of.operations)),
        substrates: (of.substrates.into_iter())
            .map(|one| pb::SubstrateStatus {
                substrate: substrate(one.substrate).into(),
                capacity: one.capacity,
                reason: one.reason,
            })
            .collect(),
    }
}
