//! The task that fills the shelf and clears it: the only one that starts or destroys for the pool.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Pool, Retired, Slot, Start,
    plan::{self, Room, Want},
    probe,
};
use crate::{
    journal::{Ahead, InstanceRow},
    model::{Duty, InstanceId, Phase},
    node::{Node, NodeState},
    runtime::boot_now,
    session::{SlotChange, What},
};

/// Nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// Until the process stops.
pub(in crate::node) async fn run(node: Node, stop: CancellationToken) {
    let pool = node.pool().clone();
    if pool.inner.config.warm == 0 {
        return;
    }
    let mut instances = node.instances().changes();
    let mut conditions = node.inner.conditions.subscribe();
    let mut sessions = node.hub().numbers();
    let mut probes = interval(pool.inner.config.probe_interval);
    probes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = turn(&node, &pool).await;
        // The senders of all three live as long as the node.
        tokio::select! {
            _changed = instances.changed() => {}
            _changed = conditions.changed() => {}
            _changed = sessions.changed() => {}
            () = pool.inner.wake.notified() => {}
            () = pool.inner.doubted.notified() => probe::look(&node, &pool).await,
            _ = probes.tick() => probe::look(&node, &pool).await,
            () = sleep_until(due) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Looks at everything once and does what follows from it; answers when to look again at the latest.
async fn turn(node: &Node, pool: &Pool) -> Instant {
    let Ok(now) = boot_now() else {
        return Instant::now() + plan::rest(1);
    };
    let (config, destroying) = (&pool.inner.config, node.destroying());
    let ready = node.state() == NodeState::Ready && node.guard().refusal().is_none();
    let quiet = ready && !node.is_busy();
    let drained = matches!(node.duty(), Duty::Draining { .. } | Duty::Drained);
    // Of orders that come meanwhile none is admitted to the room that is given away here.
    let (added, leaving, starts, due) = node.sessions().counting(|live| {
        let mut state = pool.inner.state.lock();
        let added = state.settle(node.instances());
        state.retire(now, config.max_age, drained);
        let leaving = std::mem::take(&mut state.leaving);
        for (slot, why) in &leaving {
            state.tally(&slot.profile).retired(*why);
        }
        let resting = state.rest_until.filter(|until| *until > Instant::now());
        let pausing = state.pausing(config);
        let may = (config.concurrent_starts as usize).saturating_sub(state.starting.len());
        let room = Room {
            max: usize::try_from(node.max_sessions()).unwrap_or(usize::MAX),
            live,
            leaving: destroying,
            quiet: quiet && resting.or(pausing).is_none() && state.may_start(),
            starts: may,
        };
        let want = |profile: &String| Want {
            depth: state.shelf.depth(profile) + state.starting_of(profile),
            target: state.target(config, profile, now.micros),
        };
        let wants: Vec<_> = config.profiles.iter().map(want).collect();
        if wants.iter().all(|want| want.depth >= want.target as usize) {
            state.taken = None;
        }
        let mut starts = Vec::new();
        for at in plan::starts(room, &wants) {
            let (id, profile) = (InstanceId::random(), &config.profiles[at]);
            let Some(known) = node.profiles().named(profile) else {
                continue;
            };
            let start = Start {
                profile: profile.clone(),
                ahead: Ahead {
                    recipe: node.instances().tools().recipe(&known),
                    since: now,
                },
                began: Instant::now(),
                driven: false,
            };
            state.starting.insert(id, start.clone());
            starts.push((id, start));
        }
        let oldest = state.shelf.all().first().and_then(|slot| slot.age(now));
        let ages = oldest.map(|age| Instant::now() + config.max_age.saturating_sub(age));
        let due = [resting, pausing, ages].into_iter().flatten().min();
        (added, leaving, starts, due)
    });
    for slot in added {
        node.tell(&slot, SlotChange::Added);
    }
    for (slot, why) in leaving {
        take_down(node, &slot, why).await;
    }
    for (id, start) in starts {
        begin(node, pool, id, start).await;
    }
    due.unwrap_or_else(|| Instant::now() + IDLE)
}

async fn take_down(node: &Node, slot: &Slot, why: Retired) {
    info!(instance = %slot.id, profile = slot.profile, why = why.as_str(), "retired unused");
    node.tell(slot, SlotChange::Retired(why.as_str()));
    if let Some(instance) = node.instances().get(slot.id) {
        instance.destroy(None).await;
    }
}

/// Journals the instance, then has it made.
async fn begin(node: &Node, pool: &Pool, id: InstanceId, start: Start) {
    let row = InstanceRow::new(id, start.profile, Some(start.ahead));
    let journalled = node.journal().instance(row.clone()).await;
    if let Err(error) = &journalled {
        warn!(instance = %id, %error, "nothing is parked without a journal");
    }
    let wanted = {
        let mut state = pool.inner.state.lock();
        let closed = state.closed;
        match state.starting.get_mut(&id) {
            Some(start) if journalled.is_ok() && !closed => {
                // Under the lock: whoever closes the pool finds it among the instances, or not at all.
                drop(node.instances().drive(row));
                start.driven = true;
                true
            }
            Some(_) => {
                state.starting.remove(&id);
                if !closed {
                    state.failed();
                }
                false
            }
            // It gave way meanwhile.
            None => false,
        }
    };
    if !wanted && let Err(error) = node.journal().instance_gone(id).await {
        warn!(instance = %id, %error, "a row of nothing stays; the next start removes it");
    }
}

impl Node {
    /// Tells whoever watches what became of a slot.
    pub(in crate::node) fn tell(&self, slot: &Slot, change: SlotChange) {
        self.hub().publish(What::Slot {
            instance: slot.id,
            profile: slot.profile.clone(),
            change,
        });
    }

    /// Whether orders are being carried out: what is not urgent waits.
    fn is_busy(&self) -> bool {
        let sessions = self.sessions().all();
        sessions
            .iter()
            .any(|session| session.row().phase == Phase::Creating)
    }
}
