//! The warm pool: browsers and devices that were started before anybody ordered them.
//!
//! ```text
//!   plan ─▶ Starting ─▶ shelf: parked, supervised, no session, no way out ─▶ claimed: a session's
//!                         └── aged, another image, decayed, room needed, drained ──▶ destroyed
//! ```
//!
//! A slot is a parked instance like the one that a cold start passes through; it serves one session,
//! ever. A claim is the session's own journal row and one `Bind` at the relay: no call to Docker, and
//! the relay refuses it for anything that is not alive, supervised and unused. Who is taken is decided
//! by [`shelf`], which boot is taken over by [`found`], what goes for others by [`yielding`], what is
//! started by [`plan`], all pure; [`driver`] is the one task that starts and
//! destroys, [`probe`] asks the relay whether what stands there is still good, and what an earlier
//! agent left.

mod driver;
mod fit;
mod found;
mod kind;
mod plan;
mod probe;
mod shelf;
mod state;
mod tally;
mod yielding;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Notify;

pub use self::tally::PoolProfile;
pub(super) use self::{
    driver::run, found::Found, kind::Kind, probe::adopt, shelf::Slot, yielding::Lack,
};
use self::{
    kind::Kept,
    shelf::Retired,
    state::{Start, State, parked},
    tally::Tally,
};
use crate::{
    instance::{Instances, substrate::android},
    model::{InstanceId, Substrate},
    profile::Catalogue,
    runtime::boot_now,
};

/// `[pool]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Browsers to keep parked for each of `profiles`; 0 keeps none.
    pub warm: u32,
    /// The most that are kept for a profile whose orders come fast; less than `warm` means `warm`.
    pub warm_max: u32,
    /// Device profiles to keep them for.
    pub profiles: Vec<String>,
    /// How many may start at once; orders come first.
    pub concurrent_starts: u32,
    /// How long a refill waits after an order that took one, for its client to load a first page
    /// undisturbed; longer where more such clients than the host has cores share them, at most four
    /// times this long, not at all once one found nothing parked.
    #[serde(with = "crate::model::duration")]
    pub refill_pause: Duration,
    /// One that stands for longer is replaced.
    #[serde(with = "crate::model::duration")]
    pub max_age: Duration,
    /// How often the relay is asked whether they are still good, and Docker for the image.
    #[serde(with = "crate::model::duration")]
    pub probe_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            warm: 0,
            warm_max: 0,
            profiles: vec![crate::profile::DEFAULT.to_owned()],
            concurrent_starts: 2,
            refill_pause: Duration::from_millis(500),
            max_age: Duration::from_secs(30 * 60),
            probe_interval: Duration::from_secs(5),
        }
    }
}

/// A profile that is to be kept warm and does not exist.
#[derive(Debug, thiserror::Error)]
#[error("`pool.profiles` names `{name}`, but must name some of: {known}")]
pub struct UnknownProfile {
    name: String,
    known: String,
}

/// The pool of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    kept: Vec<Kept>,
    /// Held for a decision, never across a wait; sessions may be locked before it, instances after it.
    state: Mutex<State>,
    /// Rung when the driver should look around …
    wake: Notify,
    /// … and when what stands on the shelf should be proven again.
    doubted: Notify,
}

impl Pool {
    /// An empty pool.
    ///
    /// # Errors
    /// [`UnknownProfile`].
    pub(super) fn new(
        config: Config,
        devices: &android::Config,
        profiles: &Catalogue,
    ) -> Result<Self, UnknownProfile> {
        let known = |name: &&String| profiles.named(name).is_none();
        if let Some(name) = config.profiles.iter().find(known) {
            return Err(UnknownProfile {
                name: name.clone(),
                known: profiles.names().join(", "),
            });
        }
        Ok(Self {
            inner: Arc::new(Inner {
                kept: kind::kept(&config, devices),
                config,
                state: Mutex::default(),
                wake: Notify::new(),
                doubted: Notify::new(),
            }),
        })
    }

    /// The best for an order of this kind: one that stands ready, else a device that boots. It is the
    /// caller's from now on: to bind, to wait for, or to [`Pool::put_back`].
    pub(super) fn find(&self, kind: &Kind, instances: &Instances) -> Found {
        if !self.keeps(kind) {
            return Found::Nothing;
        }
        let mut state = self.inner.state.lock();
        let state = &mut *state;
        while let Some(slot) = state.shelf.take(kind, &state.images) {
            // What has died since is seen to by the driver of the instance.
            if parked(instances, slot.id) {
                state.took(true, &self.inner.config);
                return Found::Parked(slot);
            }
        }
        match state.take_over(kind, instances) {
            Some((id, start)) => Found::Booting(id, start),
            None => Found::Nothing,
        }
    }

    /// An order of this kind was admitted, and found this.
    pub(super) fn ordered(&self, kind: &Kind, found: &Found) {
        if !self.keeps(kind) {
            return;
        }
        let now = boot_now().map_or(0, |now| now.micros);
        let mut state = self.inner.state.lock();
        state.tally(kind).order(found, now);
        if !matches!(found, Found::Parked(_)) && !kind.is_device() {
            state.took(false, &self.inner.config);
        }
        self.inner.wake.notify_one();
    }

    fn keeps(&self, kind: &Kind) -> bool {
        self.inner.kept.iter().any(|kept| kept.kind == *kind)
    }

    /// It was not needed after all.
    pub(super) fn put_back(&self, found: Found) {
        let mut state = self.inner.state.lock();
        match found {
            Found::Parked(slot) => state.shelf.put(slot),
            Found::Booting(id, start) => drop(state.starting.insert(id, start)),
            Found::Nothing => {}
        }
    }

    /// How many instances are parked or on their way.
    pub(super) fn kept(&self) -> usize {
        let state = self.inner.state.lock();
        state.shelf.all().len() + state.starting.len()
    }

    /// How many of them run on this substrate.
    pub(super) fn kept_on(&self, substrate: Substrate) -> usize {
        let state = self.inner.state.lock();
        let on_it = |kept: &&Kept| kept.kind.substrate == substrate;
        let kinds = self.inner.kept.iter().filter(on_it);
        let depth = |kept: &Kept| state.shelf.depth(&kept.kind) + state.starting_of(&kept.kind);
        kinds.map(depth).sum()
    }

    /// Gives up, for an order that lacks this, what starts or stands; false, and nothing goes, where all of
    /// it would not do.
    pub(super) fn give_way(&self, lack: Lack, instances: &Instances) -> bool {
        let gave = self.inner.state.lock().give_way(lack, instances);
        self.inner.wake.notify_one();
        gave
    }

    /// Whether this instance goes for the sake of a session that was admitted in its place.
    pub(super) fn gives_way(&self, id: InstanceId) -> bool {
        self.inner.state.lock().giving_way.contains(&id)
    }

    /// The relay was lost: nothing is given away before it has been asked again.
    pub(super) fn doubt(&self) {
        self.inner.state.lock().shelf.doubt();
        self.inner.doubted.notify_one();
    }

    /// Every kind that is kept, as it stands.
    pub(super) fn status(&self) -> Vec<PoolProfile> {
        let (config, state) = (&self.inner.config, self.inner.state.lock());
        let now = boot_now().ok();
        let micros = now.map_or(0, |now| now.micros);
        let status = |kept: &Kept| {
            let (kind, none) = (&kept.kind, Tally::default());
            let tally = state.tallies.get(kind).unwrap_or(&none);
            PoolProfile {
                parked: state.shelf.depth(kind),
                starting: state.starting_of(kind),
                oldest: now.and_then(|now| state.shelf.oldest(kind)?.age(now)),
                ..tally.shown(kind.word(), tally.target(kept, config, micros))
            }
        };
        self.inner.kept.iter().map(status).collect()
    }

    /// Nothing is started any more; what is there is the caller's to destroy.
    pub(super) fn close(&self) {
        self.inner.state.lock().closed = true;
    }
}
