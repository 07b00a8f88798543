//! The node as it answers `GetNode`, `readyz` and the metrics.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use procfs::Current;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::{
    host::monitor::Standing,
    model::{Duty, NodeId, Phase},
    runtime::wall_now,
    session::Session,
};

use super::{LeaseStatus, Node, Operations, PoolProfile, SubstrateStatus};

/// A status is worth more now than complete: the relay's own counts are waited for this long.
const RELAY_LIMIT: Duration = Duration::from_secs(1);

/// Whether a node takes sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// Comparing its journal with the host.
    Starting,
    /// Yes.
    Ready,
    /// No, and why.
    NotReady(String),
}

/// What the state follows from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    /// The journal was compared with the host.
    pub(super) settled: bool,
    /// The process is asked to end.
    pub(super) stopping: bool,
    /// Whether it is in service.
    pub(super) duty: Duty,
    /// Why there is no relay.
    pub(super) relay_down: Option<String>,
    /// Why Docker cannot be used.
    pub(super) docker_down: Option<String>,
}

impl Conditions {
    /// Before anything but what the last order left is known.
    pub(super) fn at_first(duty: Duty) -> Self {
        Self {
            duty,
            ..Self::default()
        }
    }
}

impl Conditions {
    pub(super) fn state(&self) -> NodeState {
        if self.stopping {
            NodeState::NotReady("the node is shutting down".to_owned())
        } else if !self.settled {
            NodeState::Starting
        } else if let Some(why) = self.duty.refusal() {
            NodeState::NotReady(why.to_owned())
        } else if let Some(why) = &self.relay_down {
            NodeState::NotReady(format!("there is no relay: {why}"))
        } else if let Some(why) = &self.docker_down {
            NodeState::NotReady(why.clone())
        } else {
            NodeState::Ready
        }
    }

    /// Returns once the state is another one than `known`: the new one. Cancel-safe.
    pub(super) async fn state_after(of: &watch::Sender<Self>, known: &NodeState) -> NodeState {
        let mut conditions = of.subscribe();
        // Read from what is held: a second reader beside it would wait for whoever waits to write, and
        // that one for the first.
        match conditions.wait_for(|now| now.state() != *known).await {
            Ok(changed) => changed.state(),
            // The sender is borrowed from whoever waits.
            Err(_gone) => known.clone(),
        }
    }
}

/// What is counted since the agent started.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// Containers that nobody knew, removed.
    pub(super) orphans_removed: AtomicU64,
}

/// One configured egress address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressStatus {
    /// Which.
    pub ip: IpAddr,
    /// Whether a socket can be bound to it.
    pub usable: bool,
    /// How many sessions hold it.
    pub sessions: u32,
    /// Until when it rests, for display.
    pub cooling_until: Option<OffsetDateTime>,
}

/// The node, seen from outside.
#[derive(Debug, Clone)]
pub struct Status {
    /// Which node.
    pub node_id: NodeId,
    /// Whether it takes sessions.
    pub state: NodeState,
    /// Sessions that may live at once.
    pub max_sessions: u32,
    /// Sessions that are being made.
    pub creating: u32,
    /// Sessions that serve.
    pub ready: u32,
    /// Sessions that are being ended.
    pub closing: u32,
    /// Instances that are being removed.
    pub destroying: u32,
    /// The configured egress addresses.
    pub addresses: Vec<AddressStatus>,
    /// The relay's pid, 0 when there is none.
    pub relay_pid: u32,
    /// The relay's id, empty when there is none.
    pub relay_id: String,
    /// Name of the image that sessions run.
    pub image: String,
    /// Where the CDP gateway listens.
    pub cdp_address: String,
    /// Memory that could be used without swapping, bytes.
    pub memory_available: u64,
    /// Memory of the host, bytes.
    pub memory_total: u64,
    /// The control plane's lease on it.
    pub lease: Option<LeaseStatus>,
    /// Whether it is in service.
    pub duty: Duty,
    /// What was wrong with the journal at the start, and where it is kept.
    pub journal_damage: Option<String>,
    /// Requests that the egress policy refused since the relay started, by reason.
    pub egress_refused: BTreeMap<String, u64>,
    /// Processes in containers that the kernel killed for memory, since the agent started.
    pub oom_kills: u64,
    /// Containers that nobody knew, removed since the agent started.
    pub orphans_removed: u64,
    /// How the host fares.
    pub conditions: Vec<Standing>,
    /// Why no session is admitted now although the node is ready.
    pub admission_stopped: Option<String>,
    /// Browsers that are kept parked; empty without a pool.
    pub pool: Vec<PoolProfile>,
    /// What operators' tools want to know.
    pub operations: Operations,
    /// What can run here.
    pub substrates: Vec<SubstrateStatus>,
}

/// Memory of the host, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) available: u64,
    pub(super) total: u64,
}

impl Memory {
    /// As the kernel says now; zero where it does not say.
    pub(super) fn now() -> Self {
        procfs::Meminfo::current().map_or_else(
            |_unreadable| Self::default(),
            |info| Self {
                available: info.mem_available.unwrap_or(info.mem_free),
                total: info.mem_total,
            },
        )
    }
}

impl Node {
    /// The node, seen from outside.
    pub async fn status(&self) -> Status {
        let rows: Vec<_> = self.sessions().all().iter().map(Session::row).collect();
        let count = |phase| saturated(rows.iter().filter(|row| row.phase == phase).count());
        let relay = self.relay();
        let memory = Memory::now();
        let now = wall_now();
        let addresses = self.routes().occupancy().into_iter();
        Status {
            node_id: self.id(),
            state: self.state(),
            max_sessions: self.max_sessions(),
            creating: count(Phase::Creating),
            ready: count(Phase::Ready),
            closing: count(Phase::Closing),
            destroying: saturated(self.destroying()),
            addresses: addresses
                .filter_map(|one| {
                    Some(AddressStatus {
                        ip: one.route.address()?,
                        usable: one.usable,
                        sessions: saturated(one.standing.held),
                        cooling_until: one.standing.resting.map(|left| now + left),
                    })
                })
                .collect(),
            relay_pid: relay.as_ref().map_or(0, |relay| relay.pid),
            relay_id: relay
                .as_ref()
                .map_or_else(String::new, |relay| relay.relay_id.clone()),
            image: self.instances().tools().config.image.clone(),
            cdp_address: relay
                .as_ref()
                .map_or_else(String::new, |relay| relay.cdp_address.clone()),
            memory_available: memory.available,
            memory_total: memory.total,
            lease: self.lease_status(),
            duty: self.duty(),
            journal_damage: self.inner.damage.as_ref().map(ToString::to_string),
            egress_refused: self.refused().await,
            oom_kills: self.instances().oom_kills(),
            orphans_removed: self.inner.counted.orphans_removed.load(Ordering::Relaxed),
            conditions: self.guard().standings(),
            admission_stopped: self.guard().refusal().map(|refusal| refusal.why),
            pool: self.pool().status(),
            operations: self.operations(),
            substrates: self.substrates(),
        }
    }

    /// The relay's own counts, where it answers soon.
    async fn refused(&self) -> BTreeMap<String, u64> {
        let relay = &self.instances().tools().relay;
        let asked = tokio::time::timeout(RELAY_LIMIT, relay.list()).await;
        asked.map_or_else(
            |_slow| BTreeMap::new(),
            |answer| answer.map_or_else(|_away| BTreeMap::new(), |held| held.refused),
        )
    }
}

pub(super) fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::runtime::Tasks;

    #[test]
    fn a_node_is_ready_only_when_nothing_speaks_against_it() {
        let settled = Conditions {
            settled: true,
            ..Conditions::default()
        };
        assert_eq!(Conditions::default().state(), NodeState::Starting);
        assert_eq!(settled.state(), NodeState::Ready);
        let without_relay = Conditions {
            relay_down: Some("killed".to_owned()),
            ..settled.clone()
        };
        assert!(matches!(without_relay.state(), NodeState::NotReady(_)));
        let stopping = Conditions {
            stopping: true,
            ..Conditions::default()
        };
        assert!(matches!(stopping.state(), NodeState::NotReady(_)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn whoever_waits_for_a_state_never_waits_for_whoever_changes_it() {
        const CHANGES: usize = 20_000;
        let (conditions, tasks) = (Arc::new(watch::Sender::default()), Tasks::default());
        for _ in 0..2 {
            let of: Arc<watch::Sender<Conditions>> = Arc::clone(&conditions);
            tasks.spawn("waits", |_stop| async move {
                let mut known = of.borrow().state();
                while !of.borrow().stopping {
                    known = Conditions::state_after(&of, &known).await;
                }
            });
        }
        tasks.spawn("changes", move |_stop| async move {
            for _ in 0..CHANGES {
                conditions.send_modify(|now| now.settled = !now.settled);
            }
            conditions.send_modify(|now| now.stopping = true);
        });
        tasks.drain(Duration::from_secs(60)).await.unwrap();
    }
}
