//! What operators' tools ask of a node: how long things take, what has ended, who waits for what, and
//! whether an autoscaler may take the host away.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use procfs::{CpuPressure, Current, IoPressure, MemoryPressure, PressureRecord};

use super::{HookStatus, Node, NodeState, status::saturated};
use crate::{
    journal::SessionRow,
    model::{Duty, InstanceId, Phase, Traffic},
    relay::meter,
    routes::{Health, Occupancy},
    runtime::StepTimes,
    session::{Carried, Session, Snapshot, Tally, Usage},
};

/// The node for operators' tools.
#[derive(Debug, Clone)]
pub struct Operations {
    /// How long the steps of sessions' lives took.
    pub steps: Vec<StepTimes>,
    /// What has ended since the agent started.
    pub tally: Tally,
    /// Bytes of the sessions that live.
    pub live: Traffic,
    /// What the routes have carried, and how connections by way of them fared; those that were used.
    pub routes: BTreeMap<String, (Carried, Health)>,
    /// What the kernel says of waiting.
    pub pressure: Vec<Pressure>,
    /// What an autoscaler wants to know.
    pub capacity: Capacity,
    /// What became of the letters of hooks.
    pub hooks: Vec<HookStatus>,
    /// Number of the last event.
    pub last_event: u64,
}

/// For how long some, or all, tasks of the host waited for a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Pressure {
    /// `cpu`, `memory` or `io`.
    pub resource: &'static str,
    /// `some` or `full`.
    pub share: &'static str,
    /// Of the last ten seconds, 0 to 1.
    pub last_ten_seconds: f64,
    /// In all, since the host started.
    pub stalled: Duration,
}

/// What an autoscaler wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Nothing would be lost if the host went now.
    pub safe_to_terminate: bool,
    /// Sessions that have not ended.
    pub sessions: u32,
    /// Sessions that fit.
    pub slots: u32,
    /// How many more would be taken now.
    pub free: u32,
    /// Browsers that stand ready for an order.
    pub free_warm: u32,
    /// Sessions that were ordered and are not ready yet.
    pub pending_claims: u32,
    /// It is being drained, or was.
    pub draining: bool,
}

/// What a capacity follows from.
#[derive(Debug, Clone, Copy)]
struct Counts {
    slots: usize,
    creating: usize,
    serving: usize,
    /// Instances that are being removed: their room is not back yet.
    leaving: usize,
    warm: usize,
    /// Whether orders are taken at all.
    taking: bool,
    settled: bool,
    duty: Duty,
}

impl Capacity {
    fn of(counts: Counts) -> Self {
        let live = counts.creating + counts.serving;
        let free = counts.slots.saturating_sub(live + counts.leaving);
        let free = if counts.taking { free } else { 0 };
        Self {
            // What a start has not looked for yet may live.
            safe_to_terminate: counts.settled && live == 0,
            sessions: saturated(live),
            slots: saturated(counts.slots),
            free: saturated(free),
            free_warm: if counts.taking {
                saturated(counts.warm)
            } else {
                0
            },
            pending_claims: saturated(counts.creating),
            draining: matches!(counts.duty, Duty::Draining { .. } | Duty::Drained),
        }
    }
}

impl Node {
    pub(super) fn operations(&self) -> Operations {
        // First what ended: a session that ends meanwhile is counted by the next look, never twice.
        let tally = self.hub().tally();
        let live = self.live_rows();
        let mut routes: BTreeMap<String, (Carried, Health)> = BTreeMap::new();
        let (carried, sum) = self.carried(&tally, &live);
        for (name, carried) in carried {
            routes.entry(name).or_default().0 = carried;
        }
        for (name, health) in self.routes().healths() {
            routes.entry(name).or_default().1 = health;
        }
        Operations {
            steps: self.instances().tools().steps.all(),
            tally,
            live: sum,
            routes,
            pressure: pressure(),
            capacity: self.capacity_of(&live),
            hooks: self.inner.hooks.status(),
            last_event: self.hub().last(),
        }
    }

    /// What each route has carried with what lives on it, and what all that lives has moved.
    fn carried(
        &self,
        tally: &Tally,
        live: &[Arc<SessionRow>],
    ) -> (BTreeMap<String, Carried>, Traffic) {
        let (mut routes, mut sum) = (tally.routes.clone(), Traffic::default());
        for row in live {
            let traffic = self.sessions().live(row).traffic;
            sum = sum.plus(traffic);
            if let Some(name) = row.held_route() {
                routes.entry(name).or_default().add(traffic);
            }
        }
        (routes, sum)
    }

    /// Every configured route as it is now, and what it has carried since the agent started.
    #[must_use]
    pub fn routes_now(&self) -> Vec<(Occupancy, Carried)> {
        let tally = self.hub().tally();
        let mut carried = self.carried(&tally, &self.live_rows()).0;
        let all = self.routes().occupancy().into_iter();
        all.map(|route| {
            let carried = carried.remove(&route.route.name);
            (route, carried.unwrap_or_default())
        })
        .collect()
    }

    /// What an autoscaler wants to know, now.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.capacity_of(&self.live_rows())
    }

    fn live_rows(&self) -> Vec<Arc<SessionRow>> {
        let all = self.sessions().all();
        let rows = all.iter().map(Session::row);
        rows.filter(|row| row.phase != Phase::Ended).collect()
    }

    fn capacity_of(&self, live: &[Arc<SessionRow>]) -> Capacity {
        let creating = |row: &&Arc<SessionRow>| row.phase == Phase::Creating;
        let creating = live.iter().filter(creating).count();
        let (settled, duty) = {
            // Read once: a second reader beside this one would wait for whoever waits to write.
            let conditions = self.inner.conditions.borrow();
            (conditions.settled, conditions.duty)
        };
        Capacity::of(Counts {
            slots: usize::try_from(self.max_sessions()).unwrap_or(usize::MAX),
            creating,
            serving: live.len() - creating,
            leaving: self.destroying(),
            warm: self.pool().status().iter().map(|of| of.parked).sum(),
            taking: self.state() == NodeState::Ready && self.guard().refusal().is_none(),
            settled,
            duty,
        })
    }

    /// The same sessions with what each takes of the host, where they live. Reads a few small files
    /// per session, off the executor.
    pub(super) async fn with_usage(&self, sessions: Vec<(Snapshot, InstanceId)>) -> Vec<Snapshot> {
        let node = self.clone();
        let look = move || {
            let usage = |instance| {
                let (memory, cpu) = node.instances().get(instance)?.usage()?;
                let page = node.instances().tools().paths.meter(instance);
                // Absence is usual: the relay makes the page when it takes the instance.
                let open = meter::open_now(&page).unwrap_or_default();
                Some(Usage {
                    memory,
                    cpu,
                    clients: open.clients,
                    connections: open.connections,
                })
            };
            let looked = sessions.into_iter().map(|(session, instance)| Snapshot {
                usage: usage(instance),
                ..session
            });
            looked.collect()
        };
        // It can only panic, and then there is nothing to list.
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }
}

fn pressure() -> Vec<Pressure> {
    let cpu = CpuPressure::current().ok();
    let memory = MemoryPressure::current().ok();
    let io = IoPressure::current().ok();
    let (memory, io) = (memory.as_ref(), io.as_ref());
    [
        ("cpu", "some", cpu.as_ref().map(|cpu| &cpu.some)),
        ("memory", "some", memory.map(|memory| &memory.some)),
        ("memory", "full", memory.map(|memory| &memory.full)),
        ("io", "some", io.map(|io| &io.some)),
        ("io", "full", io.map(|io| &io.full)),
    ]
    .into_iter()
    .filter_map(|(resource, share, record)| Some(read((resource, share), record?)))
    .collect()
}

fn read((resource, share): (&'static str, &'static str), record: &PressureRecord) -> Pressure {
    Pressure {
        resource,
        share,
        last_ten_seconds: f64::from(record.avg10) / 100.0,
        stalled: Duration::from_micros(record.total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Counts = Counts {
        slots: 8,
        creating: 0,
        serving: 0,
        leaving: 0,
        warm: 2,
        taking: true,
        settled: true,
        duty: Duty::On,
    };

    #[test]
    fn a_host_may_go_when_nothing_lives_on_it_and_that_is_known() {
        assert!(Capacity::of(IDLE).safe_to_terminate);
        for busy in [
            Counts {
                creating: 1,
                ..IDLE
            },
            Counts { serving: 1, ..IDLE },
            Counts {
                settled: false,
                ..IDLE
            },
        ] {
            assert!(!Capacity::of(busy).safe_to_terminate, "{busy:?}");
        }
        let drained = Capacity::of(Counts {
            duty: Duty::Drained,
            taking: false,
            ..IDLE
        });
        assert!(drained.safe_to_terminate && drained.draining);
        assert_eq!((drained.free, drained.free_warm), (0, 0));
    }

    #[test]
    fn what_is_being_removed_takes_room_and_what_is_full_has_none() {
        let counts = Counts {
            creating: 1,
            serving: 2,
            leaving: 1,
            ..IDLE
        };
        let capacity = Capacity::of(counts);
        assert_eq!((capacity.slots, capacity.free), (8, 4));
        assert_eq!(capacity.pending_claims, 1);
        let over = Counts { slots: 2, ..counts };
        assert_eq!(Capacity::of(over).free, 0);
    }

    #[test]
    fn this_kernel_says_who_waits_where_it_has_psi() {
        let said = pressure();
        let has = std::fs::exists("/proc/pressure/cpu").unwrap();
        assert_eq!(said.is_empty(), !has);
        assert!(
            said.iter()
                .all(|one| (0.0..=1.0).contains(&one.last_ten_seconds))
        );
    }
}
