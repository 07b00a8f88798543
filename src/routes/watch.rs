//! How routes fare: what the relay counted and what a look at them showed, by route.

use std::time::Duration;

use tracing::{info, warn};

use super::{Facts, Fault, Kind, Place, Route, Routes, health::State};
use crate::{
    model::BootInstant,
    relay::{
        Way,
        client::{Look, Tally},
    },
    runtime::boot_now,
};

/// What the holes of a login are filled with when nobody's session is meant.
const NOBODY: &str = "a look of the operator's own";

impl Routes {
    /// What connections of the instances came to since the last time: faults of upstreams count against
    /// the routes that the instances hold.
    pub fn tallied(&self, tallies: Vec<Tally>) {
        let Ok(now) = boot_now() else { return };
        let mut state = self.state.lock();
        let mut counted = std::mem::take(&mut state.counted);
        for tally in &tallies {
            let before = counted.remove(&tally.instance);
            let Some(route) = state.book.held_by(tally.instance).map(str::to_owned) else {
                continue;
            };
            let reached_before = before.as_ref().map_or(0, |before| before.reached);
            let health = state.health.entry(route.clone()).or_default();
            let stood = health.state(now);
            for (word, count) in &tally.refused {
                let then = before.as_ref().and_then(|before| before.refused.get(word));
                let more = count.saturating_sub(then.copied().unwrap_or(0));
                if let Some(fault) = Fault::of(word) {
                    health.failed(fault, more, now);
                } else if Fault::is_of_target(word) {
                    health.target_failed(more);
                }
            }
            health.served(tally.reached.saturating_sub(reached_before));
            tell(&route, stood, health, now);
        }
        state.counted = tallies.into_iter().map(|one| (one.instance, one)).collect();
    }

    /// The routes that are worth a look, and the way of each: those against which something speaks.
    #[must_use]
    pub fn ailing(&self) -> Vec<(String, Way)> {
        let state = self.state.lock();
        let ails = |name: &str| state.health.get(name).is_some_and(super::Health::ails);
        let ailing = state.known.values().filter(|route| ails(&route.name));
        ailing
            .map(|route| (route.name.clone(), look_by(route)))
            .collect()
    }

    /// Every route that has an upstream, and its way.
    #[must_use]
    pub fn upstreams(&self) -> Vec<(String, Way)> {
        let state = self.state.lock();
        let has = |route: &&std::sync::Arc<Route>| matches!(route.kind, Kind::Upstream(_));
        let routes = state.routes.iter().filter(has);
        routes
            .map(|route| (route.name.clone(), look_by(route)))
            .collect()
    }

    /// The way of one route, to look at it.
    #[must_use]
    pub fn way_to_look(&self, name: &str) -> Option<Way> {
        let state = self.state.lock();
        state.known.get(name).map(|route| look_by(route))
    }

    /// What a look at a route showed. `asked` says that something was fetched by way of it, not only
    /// connected to.
    pub fn looked(&self, name: &str, look: &Look, asked: bool) {
        let Ok(now) = boot_now() else { return };
        let mut state = self.state.lock();
        let Some(route) = state.known.get(name) else {
            return;
        };
        let one_exit = route.has_one_exit();
        let health = state.health.entry(name.to_owned()).or_default();
        let stood = health.state(now);
        match look {
            Look::Works { body, .. } => {
                let shows = asked || health.last().is_none_or(Fault::ends_with_a_connection);
                if shows {
                    health.served(1);
                }
                tell(name, stood, health, now);
                let text = str::from_utf8(body).unwrap_or_default().trim();
                if let Ok(exit) = text.parse()
                    && one_exit
                {
                    state.exits.insert(name.to_owned(), exit);
                }
            }
            Look::Refused { reason, .. } => {
                if let Some(fault) = Fault::of(reason) {
                    health.failed(fault, 1, now);
                }
                tell(name, stood, health, now);
            }
        }
    }

    /// Takes a route out of service, or back; who holds it keeps it. False for one that is not there.
    #[must_use]
    pub fn drain(&self, name: &str, back: bool) -> bool {
        let mut state = self.state.lock();
        if !state.known.contains_key(name) {
            return false;
        }
        if back {
            state.drained.remove(name);
        } else {
            state.drained.insert(name.to_owned());
        }
        true
    }
}

fn look_by(route: &Route) -> Way {
    let place: &Place = &route.place;
    route.way(&Facts {
        session: NOBODY,
        ttl: Duration::from_secs(60),
        place,
    })
}

/// One line where a route changed its state.
fn tell(route: &str, stood: State, health: &super::Health, now: BootInstant) {
    let fault = health.last().map_or("", Fault::as_str);
    match (stood, health.state(now)) {
        (State::Well | State::OnTrial, State::Quarantined(rest)) => {
            warn!(
                route,
                fault,
                rest_secs = rest.as_secs(),
                "egress route quarantined"
            );
        }
        (State::Quarantined(_) | State::OnTrial, State::Well) => {
            info!(route, "egress route works again");
        }
        _ => {}
    }
}
