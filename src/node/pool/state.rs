//! The pool under its lock: what stands there, what is on its way, and what became of both.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;
use tracing::info;

use super::{
    Config, plan,
    shelf::{Retired, Shelf, Slot},
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
    pub(super) tallies: HashMap<String, Tally>,
    /// Orders since the shelf was full.
    pub(super) taken: Option<plan::Taken>,
    /// Id of the image that the configured name means; empty until Docker has said it.
    pub(super) image: String,
    /// Taken down, and not told so yet.
    pub(super) leaving: Vec<(Slot, Retired)>,
    /// Going for a session's sake: that session counts in their place.
    pub(super) giving_way: HashSet<InstanceId>,
    /// Nothing is started any more.
    pub(super) closed: bool,
    pub(super) failures: u32,
    pub(super) rest_until: Option<Instant>,
}

/// An instance that is on its way to the shelf.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) profile: String,
    pub(super) ahead: Ahead,
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
            profile: self.profile,
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
                info!(instance = %id, profile = start.profile, ?took, "parked");
                self.tally(&start.profile).refilled(took);
                self.failures = 0;
                self.rest_until = None;
                let slot = Slot {
                    phone,
                    proven: true,
                    ..start.slot(id)
                };
                added.push(slot.clone());
                self.shelf.put(slot);
            } else {
                self.failed();
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

    pub(super) fn starting_of(&self, profile: &str) -> usize {
        let of_it = |start: &&Start| start.profile == profile;
        self.starting.values().filter(of_it).count()
    }

    pub(super) fn tally(&mut self, profile: &str) -> &mut Tally {
        self.tallies.entry(profile.to_owned()).or_default()
    }

    pub(super) fn target(&self, config: &Config, profile: &str, now_micros: u64) -> u32 {
        let none = Tally::default();
        let tally = self.tallies.get(profile).unwrap_or(&none);
        tally.target(config, now_micros)
    }

    /// What stands and what is on its way goes: the node is drained.
    fn empty(&mut self) {
        let starting = self.starting.drain().map(|(id, start)| start.slot(id));
        let all = self.shelf.take_all().into_iter().chain(starting);
        self.leaving
            .extend(all.map(|slot| (slot, Retired::Drained)));
    }

    /// A start came to nothing.
    pub(super) fn failed(&mut self) {
        self.failures += 1;
        self.rest_until = Some(Instant::now() + plan::rest(self.failures));
    }

    /// Whether what was started now would be of any use.
    pub(super) fn may_start(&self) -> bool {
        !self.closed && !self.image.is_empty()
    }

    pub(super) fn retire(&mut self, now: BootInstant, max_age: Duration, drained: bool) {
        if drained {
            return self.empty();
        }
        // Before Docker has said what the image is, none can be another one.
        if !self.image.is_empty() {
            let stale = self.shelf.stale(now, &self.image, max_age);
            self.leaving.extend(stale);
        }
    }
}
