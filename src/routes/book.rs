//! Who holds which address: pure, the clock and the probe are passed in.

use std::{net::IpAddr, time::Duration};

use crate::model::{BootInstant, InstanceId};

/// One instance's hold on one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Who.
    pub instance: InstanceId,
    /// What.
    pub address: IpAddr,
    /// Since when it rests; `None` while it is held.
    pub released: Option<BootInstant>,
}

/// The configured addresses and the holds on them.
#[derive(Debug, Clone)]
pub struct Book {
    addresses: Vec<IpAddr>,
    per_address: usize,
    cooldown: Duration,
    holds: Vec<Hold>,
}

/// One address as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// Which.
    pub address: IpAddr,
    /// Whether a socket can be bound to it.
    pub usable: bool,
    /// How many hold it.
    pub held: usize,
    /// How much longer it rests.
    pub resting: Option<Duration>,
}

/// No address can be given now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no egress address is free: of {configured} configured, {held} held, {resting} resting, \
     {unusable} not bindable on this host"
)]
pub struct Exhausted {
    /// How many there are.
    pub configured: usize,
    /// How many are held by as many sessions as may.
    pub held: usize,
    /// How many rest.
    pub resting: usize,
    /// How many are not this host's.
    pub unusable: usize,
    /// When the first that rests has rested enough.
    pub retry_after: Option<Duration>,
}

impl Book {
    /// Nothing held.
    #[must_use]
    pub fn new(addresses: Vec<IpAddr>, per_address: u32, cooldown: Duration) -> Self {
        Self {
            addresses,
            per_address: usize::try_from(per_address).unwrap_or(usize::MAX).max(1),
            cooldown,
            holds: Vec::new(),
        }
    }

    /// Whether no address is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// A hold from before a restart, also on an address that is configured no longer.
    pub fn restore(&mut self, hold: Hold) {
        self.holds.push(hold);
    }

    /// Gives the least held address that is free; asking again for the same instance answers the
    /// same address.
    ///
    /// # Errors
    /// [`Exhausted`], with when to ask again.
    pub fn take(
        &mut self,
        instance: InstanceId,
        now: BootInstant,
        usable: impl Fn(IpAddr) -> bool,
    ) -> Result<IpAddr, Exhausted> {
        if let Some(address) = self.held_by(instance) {
            return Ok(address);
        }
        let state = self.occupancy(now, usable);
        let free =
            |one: &&Occupancy| one.usable && one.resting.is_none() && one.held < self.per_address;
        // The first of the least held: the order of the configuration breaks ties.
        let Some(best) = state.iter().filter(free).min_by_key(|one| one.held) else {
            return Err(self.exhausted(&state));
        };
        let address = best.address;
        // What the instance may have given back before goes on resting.
        self.holds.push(Hold {
            instance,
            address,
            released: None,
        });
        Ok(address)
    }

    fn exhausted(&self, state: &[Occupancy]) -> Exhausted {
        let count = |what: fn(&Occupancy, usize) -> bool| {
            let per_address = self.per_address;
            state.iter().filter(|one| what(one, per_address)).count()
        };
        Exhausted {
            configured: state.len(),
            held: count(|one, limit| one.usable && one.held >= limit),
            resting: count(|one, _| one.usable && one.resting.is_some()),
            unusable: count(|one, _| !one.usable),
            retry_after: state
                .iter()
                .filter(|one| one.usable)
                .filter_map(|one| one.resting)
                .min(),
        }
    }

    /// What `instance` holds now.
    #[must_use]
    pub fn held_by(&self, instance: InstanceId) -> Option<IpAddr> {
        self.holds
            .iter()
            .find(|hold| hold.instance == instance && hold.released.is_none())
            .map(|hold| hold.address)
    }

    /// What `from` holds is `to`'s from now on; `None` where it holds nothing.
    pub fn pass_on(&mut self, from: InstanceId, to: InstanceId) -> Option<IpAddr> {
        let held = |hold: &&mut Hold| hold.instance == from && hold.released.is_none();
        let hold = self.holds.iter_mut().find(held)?;
        hold.instance = to;
        Some(hold.address)
    }

    /// Gives back what `instance` holds; `None` where it holds nothing.
    pub fn release(&mut self, instance: InstanceId, now: BootInstant) -> Option<Hold> {
        let hold = self
            .holds
            .iter_mut()
            .find(|hold| hold.instance == instance && hold.released.is_none())?;
        hold.released = Some(now);
        Some(*hold)
    }

    /// Drops what has rested enough; answers whose holds they were.
    pub fn sweep(&mut self, now: BootInstant) -> Vec<InstanceId> {
        let cooldown = self.cooldown;
        let over = |hold: &Hold| {
            hold.released
                .is_some_and(|at| rest_left(at, now, cooldown).is_none())
        };
        let rested = self.holds.iter().filter(|hold| over(hold));
        let rested = rested.map(|hold| hold.instance).collect();
        self.holds.retain(|hold| !over(hold));
        rested
    }

    /// Every configured address as it is now.
    #[must_use]
    pub fn occupancy(&self, now: BootInstant, usable: impl Fn(IpAddr) -> bool) -> Vec<Occupancy> {
        let one = |address: &IpAddr| {
            let holds = || self.holds.iter().filter(|hold| hold.address == *address);
            let held = holds().filter(|hold| hold.released.is_none()).count();
            let rest = holds()
                .filter_map(|hold| rest_left(hold.released?, now, self.cooldown))
                .max();
            Occupancy {
                address: *address,
                usable: usable(*address),
                held,
                // It rests after its last session: while one holds it, it works.
                resting: rest.filter(|_| held == 0),
            }
        };
        self.addresses.iter().map(one).collect()
    }
}

/// How much longer an address rests; `None` when it has rested enough. What was released in an
/// earlier boot has rested at least since this one began.
fn rest_left(released: BootInstant, now: BootInstant, cooldown: Duration) -> Option<Duration> {
    let since = if released.boot == now.boot {
        now.micros.saturating_sub(released.micros)
    } else {
        now.micros
    };
    cooldown
        .checked_sub(Duration::from_micros(since))
        .filter(|left| !left.is_zero())
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
