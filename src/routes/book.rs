//! Who holds which route: pure, the clock and the probe are passed in.

use std::{collections::HashMap, time::Duration};

use sha2::{Digest, Sha256};

use crate::model::{BootInstant, InstanceId};

/// One instance's hold on one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Who.
    pub instance: InstanceId,
    /// What: a route's name.
    pub route: String,
    /// Since when it rests; `None` while it is held.
    pub released: Option<BootInstant>,
}

/// How a route may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// By so many instances at a time.
    pub sessions: usize,
    /// It rests for so long after the last of them.
    pub cooldown: Duration,
}

/// The holds, and when each route was given last.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// In the order of the configuration.
    routes: Vec<(String, Terms)>,
    holds: Vec<Hold>,
    /// Counts what was given: a larger number was later.
    given: HashMap<String, u64>,
    count: u64,
}

/// One route as it is held now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How many hold it.
    pub held: usize,
    /// How much longer it rests.
    pub resting: Option<Duration>,
}

/// No route can be given now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// What was asked for; empty when anything would have done.
    pub asked: String,
    /// How many fit that.
    pub fitting: usize,
    /// How many of them are held by as many sessions as may.
    pub held: usize,
    /// How many rest.
    pub resting: usize,
    /// How many cannot be used: not of this host, ill or taken out of service.
    pub unusable: usize,
    /// When the first that rests has rested enough.
    pub retry_after: Option<Duration>,
}

impl std::error::Error for Exhausted {}

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let with = match &*self.asked {
            "" => String::new(),
            asked => format!(" with {asked}"),
        };
        if self.fitting == 0 {
            return write!(f, "this node has no egress route{with}");
        }
        write!(
            f,
            "no egress route{with} is free: of {} that fit, {} held, {} resting, {} not usable now",
            self.fitting, self.held, self.resting, self.unusable
        )
    }
}

impl Book {
    /// What there is, from now on; holds on what is there no longer stay until they are given back.
    pub fn set_routes(&mut self, routes: Vec<(String, Terms)>) {
        self.routes = routes;
    }

    /// A hold from before a restart, also on a route that is configured no longer.
    pub fn restore(&mut self, hold: Hold) {
        self.holds.push(hold);
    }

    fn terms(&self, route: &str) -> Option<Terms> {
        let mut routes = self.routes.iter();
        routes
            .find(|(name, _)| name == route)
            .map(|(_, terms)| *terms)
    }

    /// How a route is held now.
    #[must_use]
    pub fn standing(&self, route: &str, now: BootInstant) -> Standing {
        let holds = || self.holds.iter().filter(|hold| hold.route == route);
        let held = holds().filter(|hold| hold.released.is_none()).count();
        let cooldown = self
            .terms(route)
            .map_or(Duration::ZERO, |terms| terms.cooldown);
        let rest = holds()
            .filter_map(|hold| rest_left(hold.released?, now, cooldown))
            .max();
        Standing {
            held,
            // It rests after its last session: while one holds it, it works.
            resting: rest.filter(|_| held == 0),
        }
    }

    /// Gives one of `fitting`: the least held, then the one that was given longest ago, then the first
    /// of the configuration. With a `key` the order is the key's own, and the same for ever. Asking again
    /// for the same instance answers the same route.
    ///
    /// # Errors
    /// [`Exhausted`], with when to ask again.
    pub fn take(
        &mut self,
        instance: InstanceId,
        (fitting, key): (&[&str], &str),
        now: BootInstant,
        usable: impl Fn(&str) -> bool,
    ) -> Result<String, Exhausted> {
        if let Some(route) = self.held_by(instance) {
            return Ok(route.to_owned());
        }
        let Some(route) = self.pick((fitting, key), now, &usable) else {
            return Err(self.exhausted(fitting, now, usable));
        };
        // What the instance may have given back before goes on resting.
        self.holds.push(Hold {
            instance,
            route: route.clone(),
            released: None,
        });
        Ok(route)
    }

    /// Gives `instance` one of `fitting` in place of what it holds; `None` where none is free. What it held
    /// is not rested: it is lost.
    pub fn move_on(
        &mut self,
        instance: InstanceId,
        fitting: &[&str],
        now: BootInstant,
        usable: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let held = |hold: &Hold| hold.instance == instance && hold.released.is_none();
        let at = self.holds.iter().position(held)?;
        let route = self.pick((fitting, ""), now, &usable)?;
        self.holds[at].route.clone_from(&route);
        Some(route)
    }

    fn pick(
        &mut self,
        (fitting, key): (&[&str], &str),
        now: BootInstant,
        usable: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let mut free: Vec<_> = fitting
            .iter()
            .filter_map(|route| {
                let (terms, standing) = (self.terms(route)?, self.standing(route, now));
                let free = standing.resting.is_none() && standing.held < terms.sessions;
                let given = self.given.get(*route).copied().unwrap_or(0);
                free.then_some((*route, standing.held, given))
            })
            .collect();
        if key.is_empty() {
            free.sort_by_key(|(_, held, given)| (*held, *given));
        } else {
            free.sort_by_cached_key(|(route, ..)| affinity(key, route));
        }
        // What is usable is asked last, and of no more than need be: it may cost a system call.
        let (route, ..) = free.into_iter().find(|(route, ..)| usable(route))?;
        let route = route.to_owned();
        self.count += 1;
        self.given.insert(route.clone(), self.count);
        Some(route)
    }

    fn exhausted(
        &self,
        fitting: &[&str],
        now: BootInstant,
        usable: impl Fn(&str) -> bool,
    ) -> Exhausted {
        let mut exhausted = Exhausted {
            asked: String::new(),
            fitting: fitting.len(),
            held: 0,
            resting: 0,
            unusable: 0,
            retry_after: None,
        };
        for route in fitting {
            let standing = self.standing(route, now);
            if !usable(route) {
                exhausted.unusable += 1;
            } else if let Some(left) = standing.resting {
                exhausted.resting += 1;
                let first = exhausted.retry_after.map_or(left, |first| first.min(left));
                exhausted.retry_after = Some(first);
            } else {
                exhausted.held += 1;
            }
        }
        exhausted
    }

    /// What `instance` holds now.
    #[must_use]
    pub fn held_by(&self, instance: InstanceId) -> Option<&str> {
        self.holds
            .iter()
            .find(|hold| hold.instance == instance && hold.released.is_none())
            .map(|hold| &*hold.route)
    }

    /// Whether anybody holds this route now.
    #[must_use]
    pub fn is_held(&self, route: &str) -> bool {
        let mut holds = self.holds.iter();
        holds.any(|hold| hold.route == route && hold.released.is_none())
    }

    /// What `from` holds is `to`'s from now on; `None` where it holds nothing.
    pub fn pass_on(&mut self, from: InstanceId, to: InstanceId) -> Option<&str> {
        let held = |hold: &&mut Hold| hold.instance == from && hold.released.is_none();
        let hold = self.holds.iter_mut().find(held)?;
        hold.instance = to;
        Some(&hold.route)
    }

    /// Gives back what `instance` holds; `None` where it holds nothing.
    pub fn release(&mut self, instance: InstanceId, now: BootInstant) -> Option<Hold> {
        let hold = self
            .holds
            .iter_mut()
            .find(|hold| hold.instance == instance && hold.released.is_none())?;
        hold.released = Some(now);
        Some(hold.clone())
    }

    /// Gives back what `instance` holds and never used: it does not rest.
    pub fn put_back(&mut self, instance: InstanceId) {
        let held = |hold: &Hold| hold.instance == instance && hold.released.is_none();
        self.holds.retain(|hold| !held(hold));
    }

    /// Drops what has rested enough; answers whose holds they were.
    pub fn sweep(&mut self, now: BootInstant) -> Vec<InstanceId> {
        let over: Vec<bool> = self
            .holds
            .iter()
            .map(|hold| {
                let cooldown = self
                    .terms(&hold.route)
                    .map_or(Duration::ZERO, |t| t.cooldown);
                let left = |at| rest_left(at, now, cooldown);
                hold.released.is_some_and(|at| left(at).is_none())
            })
            .collect();
        let mut rested = Vec::new();
        let mut each = over.into_iter();
        self.holds.retain(|hold| {
            let over = each.next().unwrap_or(false);
            if over {
                rested.push(hold.instance);
            }
            !over
        });
        rested
    }
}

/// How far a route is from a key: the nearest that is free is given (rendezvous hashing), so a key
/// keeps its route whatever else comes and goes.
fn affinity(key: &str, route: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(key.as_bytes());
    hash.update([0]);
    hash.update(route.as_bytes());
    hash.finalize().into()
}

/// How much longer a route rests; `None` when it has rested enough. What was released in an earlier
/// boot has rested at least since this one began.
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
