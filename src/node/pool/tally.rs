//! What the pool has done for each kind, counted since the start of the agent.

use std::{collections::BTreeMap, time::Duration};

use super::{Config, Found, kind::Kept, plan, plan::Demand, shelf::Retired};

/// How long a refill is taken to last before one was seen.
const FIRST_GUESS: Duration = Duration::from_secs(2);

/// One kind of the pool, for whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolProfile {
    /// The device profile of browsers; of devices their kind, such as `redroid`.
    pub profile: String,
    /// How many there should be.
    pub target: u32,
    /// How many stand ready.
    pub parked: usize,
    /// How many are on their way.
    pub starting: usize,
    /// Orders that were given one.
    pub hits: u64,
    /// Orders that found none.
    pub misses: u64,
    /// Orders that took over a boot that was under way.
    pub taken_over: u64,
    /// How many became ready.
    pub refills: u64,
    /// How long that took for all of them together, from the decision to the shelf.
    pub refilling: Duration,
    /// How long it took for the last one.
    pub last_refill: Option<Duration>,
    /// How long the oldest has been there.
    pub oldest: Option<Duration>,
    /// How many were taken down unused, by reason.
    pub retired: BTreeMap<&'static str, u64>,
}

/// The counts of one kind.
#[derive(Debug, Default)]
pub(super) struct Tally {
    demand: Demand,
    hits: u64,
    misses: u64,
    taken_over: u64,
    refills: u64,
    refilling: Duration,
    last_refill: Option<Duration>,
    retired: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// An order was admitted, and found this.
    pub(super) fn order(&mut self, found: &Found, now_micros: u64) {
        self.demand.order(now_micros);
        let count = match found {
            Found::Parked(_) => &mut self.hits,
            Found::Booting(..) => &mut self.taken_over,
            Found::Nothing => &mut self.misses,
        };
        *count += 1;
    }

    /// One became ready.
    pub(super) fn refilled(&mut self, took: Duration) {
        self.refills += 1;
        self.refilling += took;
        self.last_refill = Some(took);
    }

    pub(super) fn retired(&mut self, why: Retired) {
        *self.retired.entry(why.as_str()).or_default() += 1;
    }

    pub(super) fn target(&self, kept: &Kept, config: &Config, now_micros: u64) -> u32 {
        let refill = self.last_refill.unwrap_or(FIRST_GUESS) + config.refill_pause;
        let rate = self.demand.rate(now_micros);
        plan::target(kept.warm, kept.most, rate, refill)
    }

    /// For whoever asks; what stands where is added by the pool.
    pub(super) fn shown(&self, profile: &str, target: u32) -> PoolProfile {
        PoolProfile {
            profile: profile.to_owned(),
            target,
            parked: 0,
            starting: 0,
            hits: self.hits,
            misses: self.misses,
            taken_over: self.taken_over,
            refills: self.refills,
            refilling: self.refilling,
            last_refill: self.last_refill,
            oldest: None,
            retired: Retired::ALL
                .map(|why| {
                    (
                        why.as_str(),
                        self.retired.get(why.as_str()).copied().unwrap_or(0),
                    )
                })
                .into(),
        }
    }
}
