//! The routes with who holds them and how they fare: the one thing behind the lock.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, TcpListener},
    sync::Arc,
};

use nix::net::if_::if_nametoindex;

use super::{Book, Health, Hold, Kind, Occupancy, Route, Taken, Terms, health};
use crate::{
    journal::LeaseRow,
    model::{BootInstant, InstanceId},
    relay::client::Tally,
};

#[derive(Debug, Default)]
pub(super) struct State {
    /// In the order of the configuration.
    pub(super) routes: Vec<Arc<Route>>,
    /// By name: those of now, and those of before for as long as somebody holds them.
    pub(super) known: HashMap<String, Arc<Route>>,
    pub(super) book: Book,
    pub(super) health: HashMap<String, Health>,
    /// Addresses that origins saw when they were asked.
    pub(super) exits: HashMap<String, IpAddr>,
    /// Taken out of service.
    pub(super) drained: BTreeSet<String>,
    /// What each instance's connections had come to when they were counted last.
    pub(super) counted: HashMap<InstanceId, Tally>,
}

impl State {
    pub(super) fn set(&mut self, routes: Vec<Route>) {
        self.routes = routes.into_iter().map(Arc::new).collect();
        for route in &self.routes {
            self.known.insert(route.name.clone(), Arc::clone(route));
        }
        let terms = |route: &Arc<Route>| Terms {
            sessions: usize::try_from(route.sessions).unwrap_or(usize::MAX),
            cooldown: route.cooldown,
        };
        let each = self.routes.iter();
        let each = each.map(|route| (route.name.clone(), terms(route)));
        self.book.set_routes(each.collect());
        self.forget();
    }

    /// Drops what is neither configured nor held.
    pub(super) fn forget(&mut self) {
        let (routes, book) = (&self.routes, &self.book);
        self.known.retain(|name, route| {
            routes.iter().any(|one| Arc::ptr_eq(one, route)) || book.is_held(name)
        });
        let known = &self.known;
        self.health.retain(|name, _| known.contains_key(name));
        self.exits.retain(|name, _| known.contains_key(name));
        self.drained.retain(|name| known.contains_key(name));
    }

    /// Whether a route may be given to somebody new.
    pub(super) fn is_given(&self, name: &str, now: BootInstant) -> bool {
        let well = self.health.get(name).map(|health| health.state(now));
        !matches!(well, Some(health::State::Quarantined(_)))
            && !self.drained.contains(name)
            && self.known.get(name).is_some_and(|route| is_usable(route))
    }

    /// What `instance` holds with a route, for its session's row.
    pub(super) fn taken(&self, instance: InstanceId, name: String) -> Taken {
        let route = self.known.get(&name);
        let seen = self.exits.get(&name).copied();
        Taken {
            exit_ip: route.and_then(|route| route.exit_ip).or(seen),
            region: route
                .map(|route| route.place.label())
                .filter(|label| !label.is_empty()),
            lease: LeaseRow {
                instance,
                route: name,
                released: None,
            },
        }
    }

    pub(super) fn occupancy(&self, route: &Arc<Route>, now: BootInstant) -> Occupancy {
        let health = self.health.get(&route.name).cloned().unwrap_or_default();
        Occupancy {
            usable: is_usable(route),
            standing: self.book.standing(&route.name, now),
            exit_ip: route
                .exit_ip
                .or_else(|| self.exits.get(&route.name).copied()),
            drained: self.drained.contains(&route.name),
            state: health.state(now),
            outage: health.outage(now),
            health,
            route: Arc::clone(route),
        }
    }
}

pub(super) fn hold(row: &LeaseRow) -> Hold {
    Hold {
        instance: row.instance,
        route: row.route.clone(),
        released: row.released,
    }
}

/// The kernel's own answer to "is this ours?".
fn is_usable(route: &Route) -> bool {
    match &route.kind {
        Kind::Direct { address, interface } => {
            let ours = address.is_none_or(|ip| TcpListener::bind((ip, 0)).is_ok());
            ours && (interface.is_empty() || if_nametoindex(&**interface).is_ok())
        }
        Kind::Upstream(_) => true,
    }
}
