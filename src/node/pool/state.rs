//! The pool under its lock: what stands there, what is on its way, and what became of both.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;
use tracing::info;

use super::{
    Config,
    kind::{Kept, Kind},
    plan,
    shelf::{Images, Retired, Shelf, Slot},
    tally::Tally,
};
use crate::{
    instance::{Instances, View},
    journal::Ahead,
    model::{BootInstant, InstanceId},
    runtime::cores,
};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) shelf: Shelf,
    pub(super) starting: HashMap<InstanceId, Start>,
    pub(super) tallies: HashMap<Kind, Tally>,
    /// Orders since the shelf was full.
    pub(super) taken: Option<plan::Taken>,
    pub(super) images: Images,
    /// Taken down, and not told so yet.
    pub(super) leaving: Vec<(Slot, Retired)>,
    /// Going for a session's sake: that session counts in their place.
    pub(super) giving_way: HashSet<InstanceId>,
    /// Nothing is started any more.
    pub(super) closed: bool,
    /// Of the kinds whose last start came to nothing.
    rests: HashMap<Kind, Rest>,
}

/// What failed is not tried again at once.
#[derive(Debug, Clone, Copy)]
struct Rest {
    failures: u32,
    until: Instant,
}

/// An instance that is on its way to the shelf.
#[derive(Debug, Clone)]
pub(in crate::node) struct Start {
    pub(super) kind: Kind,
    pub(super) ahead: Ahead,
    /// Id of the image that its name meant then.
    pub(super) image: String,
    pub(super) began: Instant,
    /// Its driver runs.
    pub(super) driven: bool,
}

pub(super) fn parked(instances: &Instances, id: InstanceId) -> bool {
    let view = instances.get(id).map(|instance| instance.view());
    matches!(view, Some(View::Parked(_)))
}

impl Start {
    /// As a slot that never came to be.
    pub(super) fn slot(self, id: InstanceId) -> Slot {
        Slot {
            id,
            kind: self.kind,
            phone: crate::instance::Phone::default(),
            since: self.ahead.since,
            proven: false,
        }
    }
}

impl State {
    /// Brings shelf and starts in line with what became of the instances; answers what came to stand.
    pub(super) fn settle(&mut self, instances: &Instances) -> Vec<Slot> {
        let mut added = Vec::new();
        let ended: Vec<_> = (self.starting.iter())
            .filter(|(_, start)| start.driven)
            .map(|(id, _)| (*id, instances.get(*id).map(|instance| instance.view())))
            .filter(|(_, view)| !matches!(view, Some(View::Starting(_))))
            .collect();
        for (id, view) in ended {
            let Some(start) = self.starting.remove(&id) else {
                continue;
            };
            if let Some(View::Parked(phone)) = view {
                let took = start.began.elapsed();
                info!(instance = %id, profile = start.kind.word(), ?took, "parked");
                self.tally(&start.kind).refilled(took);
                self.rests.remove(&start.kind);
                let slot = Slot {
                    phone,
                    proven: true,
                    ..start.slot(id)
                };
                added.push(slot.clone());
                self.shelf.put(slot);
            } else {
                self.failed(start.kind);
            }
        }
        let gone: Vec<_> = (self.shelf.all().iter())
            .filter(|slot| !parked(instances, slot.id))
            .map(|slot| slot.id)
            .collect();
        for id in gone {
            if let Some(slot) = self.shelf.remove(id) {
                // It is on its way out already; told all the same, once.
                self.leaving.push((slot, Retired::Decayed));
            }
        }
        self.giving_way.retain(|id| instances.get(*id).is_some());
        added
    }

    pub(super) fn took(&mut self, hit: bool, config: &Config) {
        let (before, now) = (self.taken, Instant::now());
        self.taken = Some(plan::Taken::order(before, hit, now, config.refill_pause));
    }

    /// Until when refills wait for those who were handed what is missing.
    pub(super) fn pausing(&self, config: &Config) -> Option<Instant> {
        let cores = u32::try_from(cores()).unwrap_or(1);
        let until = self.taken?.refill_at(config.refill_pause, cores);
        (until > Instant::now()).then_some(until)
    }

    /// How many devices boot.
    pub(super) fn boots(&self) -> usize {
        let boots = |start: &&Start| start.kind.is_device();
        self.starting.values().filter(boots).count()
    }

    pub(super) fn starting_of(&self, kind: &Kind) -> usize {
        let of_it = |start: &&Start| start.kind == *kind;
        self.starting.values().filter(of_it).count()
    }

    pub(super) fn tally(&mut self, kind: &Kind) -> &mut Tally {
        self.tallies.entry(kind.clone()).or_default()
    }

    pub(super) fn target(&self, kept: &Kept, config: &Config, now_micros: u64) -> u32 {
        let none = Tally::default();
        let tally = self.tallies.get(&kept.kind).unwrap_or(&none);
        tally.target(kept, config, now_micros)
    }

    /// Until when this kind is not started again.
    pub(super) fn resting(&self, kind: &Kind) -> Option<Instant> {
        let until = self.rests.get(kind)?.until;
        (until > Instant::now()).then_some(until)
    }

    /// What stands and what is on its way goes: the node is drained.
    fn empty(&mut self) {
        let starting = self.starting.drain().map(|(id, start)| start.slot(id));
        let all = self.shelf.take_all().into_iter().chain(starting);
        self.leaving
            .extend(all.map(|slot| (slot, Retired::Drained)));
    }

    /// A start came to nothing.
    pub(super) fn failed(&mut self, kind: Kind) {
        let failures = self.rests.get(&kind).map_or(0, |rest| rest.failures) + 1;
        let until = Instant::now() + plan::rest(failures);
        self.rests.insert(kind, Rest { failures, until });
    }

    /// Whether one of this kind would be of any use if it was started now.
    pub(super) fn may_start(&self, kind: &Kind) -> bool {
        !self.closed && self.images.contains_key(&kind.substrate) && self.resting(kind).is_none()
    }

    pub(super) fn retire(&mut self, now: BootInstant, max_age: Duration, drained: bool) {
        if drained {
            return self.empty();
        }
        let stale = self.shelf.stale(now, &self.images, max_age);
        self.leaving.extend(stale);
    }
}
