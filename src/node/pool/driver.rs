//! The task that fills the shelf and clears it: the only one that starts or destroys for the pool.

use std::{collections::HashMap, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Config, Kept, Kind, Pool, Retired, Slot, Start, State,
    fit::{self, Fit},
    plan::{self, Room, Want},
    probe,
};
use crate::{
    journal::{Ahead, InstanceRow},
    model::{BootInstant, Duty, InstanceId, Phase, Substrate},
    node::{Node, NodeState},
    runtime::boot_now,
    session::{SlotChange, What},
};

/// How many devices boot at once for the pool: fewer than may, so that an order's need not wait for them.
const BOOTS: usize = 1;
/// Nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// Until the process stops.
pub(in crate::node) async fn run(node: Node, stop: CancellationToken) {
    let pool = node.pool().clone();
    if pool.inner.kept.is_empty() {
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
    let quiet = ready && !node.makes(|of| of == Substrate::Chromium);
    let fits = fit::devices(node, pool);
    let drained = matches!(node.duty(), Duty::Draining { .. } | Duty::Drained);
    // Of orders that come meanwhile none is admitted to the room that is given away here.
    let (added, leaving, starts, due) = node.sessions().counting(|live| {
        let mut state = pool.inner.state.lock();
        let added = state.settle(node.instances());
        state.retire(now, config.max_age, drained);
        let leaving = std::mem::take(&mut state.leaving);
        for (slot, why) in &leaving {
            state.tally(&slot.kind).retired(*why);
        }
        let kept = &pool.inner.kept;
        let resting = kept
            .iter()
            .filter_map(|kept| state.resting(&kept.kind))
            .min();
        let pausing = state.pausing(config);
        let may = (config.concurrent_starts as usize).saturating_sub(state.starting.len());
        let room = Room {
            max: usize::try_from(node.max_sessions()).unwrap_or(usize::MAX),
            live,
            leaving: destroying,
            quiet: quiet && pausing.is_none(),
            starts: may,
            boots: BOOTS.saturating_sub(state.boots()),
        };
        let wants: Vec<_> = (kept.iter())
            .map(|kept| want(&state, kept, config, (&fits, now)))
            .collect();
        // A device takes minutes: no refill of browsers hangs on it.
        let there = |want: &Want| want.boots || want.depth >= want.target as usize;
        if pausing.is_none() && wants.iter().all(there) {
            state.taken = None;
        }
        let chosen = plan::starts(room, &wants).into_iter();
        let starts: Vec<_> = chosen
            .filter_map(|at| start_of(node, &state, &kept[at].kind, now))
            .collect();
        state.starting.extend(starts.iter().cloned());
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

/// What there is of a kind, and what there should be.
fn want(
    state: &State,
    kept: &Kept,
    config: &Config,
    (fits, now): (&HashMap<Substrate, Fit>, BootInstant),
) -> Want {
    let kind = &kept.kind;
    let depth = state.shelf.depth(kind) + state.starting_of(kind);
    let fit = fits.get(&kind.substrate);
    let may = fit.map_or(usize::MAX, |fit| fit.more(depth));
    Want {
        depth,
        target: state.target(kept, config, now.micros),
        may: if state.may_start(kind) { may } else { 0 },
        boots: kind.is_device(),
    }
}

/// A start of this kind that begins now; none of a profile that is no more.
fn start_of(
    node: &Node,
    state: &State,
    kind: &Kind,
    now: BootInstant,
) -> Option<(InstanceId, Start)> {
    let profile = node.profiles().named(&kind.profile)?;
    let image = state.images.get(&kind.substrate)?.clone();
    let start = Start {
        kind: kind.clone(),
        ahead: Ahead {
            recipe: (node.instances().tools()).recipe(kind.substrate, &profile),
            since: now,
        },
        image,
        began: Instant::now(),
        driven: false,
    };
    Some((InstanceId::random(), start))
}

async fn take_down(node: &Node, slot: &Slot, why: Retired) {
    info!(instance = %slot.id, profile = slot.kind.word(), why = why.as_str(), "retired unused");
    node.tell(slot, SlotChange::Retired(why.as_str()));
    if let Some(instance) = node.instances().get(slot.id) {
        instance.destroy(None).await;
    }
}

/// Journals the instance, then has it made.
async fn begin(node: &Node, pool: &Pool, id: InstanceId, start: Start) {
    let kind = start.kind;
    let row = InstanceRow::new(id, kind.profile.clone(), Some(start.ahead)).on(kind.substrate);
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
                    state.failed(kind);
                }
                false
            }
            // It gave way meanwhile, or an order came that is made one itself.
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
            profile: slot.kind.word().to_owned(),
            change,
        });
    }

    /// Whether orders for such substrates are being carried out: what is not urgent waits.
    pub(super) fn makes(&self, which: impl Fn(Substrate) -> bool) -> bool {
        let sessions = self.sessions().all();
        sessions.iter().any(|session| {
            let row = session.row();
            row.phase == Phase::Creating && which(row.spec.substrate)
        })
    }
}
