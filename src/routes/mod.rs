//! Egress routes: the ways out of this node, and who holds which.
//!
//! ```text
//!   [egress] addresses ─┐
//!   [[route]] in a file ┴▶ Route ── fits an order's wish? ─▶ book: free? ─▶ held by an instance
//!                                                                            │ way(): the relay's words
//! ```
//!
//! A route is *usable* when what it needs of this host is there, *held* by up to `sessions` instances,
//! and *rests* for its cool-down after the last of them. Which one is given is decided by [`book`],
//! which is pure; what is held is journalled with the order that asked for it, before any packet can
//! leave. Without any route sessions share the host's default address, and nothing is held.
//!
//! How a route fares is judged by [`health`] from what the relay counts; [`watch`] puts that to account. An
//! ill one is given to nobody until it has rested and proved itself.
//!
//! Logins stay here and in the relay: journal and records name a route, never what it is made of.

mod book;
mod config;
mod expand;
mod failover;
mod health;
mod own;
mod read;
mod route;
mod secret;
mod sources;
mod state;
mod template;
mod watch;

use std::{collections::BTreeSet, io, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tracing::warn;

pub use book::{Book, Exhausted, Hold, Standing, Terms};
pub use config::Config;
pub use failover::Stays;
pub use health::{Fault, Health, State};
pub use own::{InvalidProxy, check_own};
pub use read::{Refused, from_file, from_text};
pub use route::{Geolocation, Kind, Place, Proxy, Route};
pub use sources::Sources;
pub use template::Facts;

use self::state::hold;

use crate::{
    journal::{Journal, JournalError, LeaseRow, SessionRow},
    model::{Class, Classify, EgressWish, InstanceId},
    relay::{self, Way},
    runtime::boot_now,
};

/// Why there is no route.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// None fits, or all that fit are held, rest or cannot be used.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The boot clock cannot be read.
    #[error("the boot clock cannot be read")]
    Clock(#[from] io::Error),
}

impl Classify for RouteError {
    fn class(&self) -> Class {
        match self {
            Self::Exhausted(_) => Class::Exhausted,
            Self::Clock(_) => Class::Internal,
        }
    }
}

/// Why a session's way out is not known any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// The route is gone from the configuration.
    #[error("its egress route `{0}` is configured no longer")]
    Route(String),
    /// The login of a client's own proxy is kept in memory alone.
    #[error("the login of its client's own proxy is not kept across restarts of both processes")]
    Login,
    /// The client's own proxy is none.
    #[error(transparent)]
    Proxy(#[from] InvalidProxy),
}

/// A route that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// To be journalled before anything uses it.
    pub lease: LeaseRow,
    /// The address that origins will see, where it is known.
    pub exit_ip: Option<IpAddr>,
    /// Where that is, where it is known.
    pub region: Option<String>,
}

/// One route as it is now.
#[derive(Debug, Clone)]
pub struct Occupancy {
    /// Which.
    pub route: Arc<Route>,
    /// Whether what it needs of this host is there.
    pub usable: bool,
    /// How it is held.
    pub standing: Standing,
    /// The address that origins see, where it is known.
    pub exit_ip: Option<IpAddr>,
    /// Whether it was taken out of service.
    pub drained: bool,
    /// Where it stands.
    pub state: State,
    /// For how long nothing has gone by way of it although it was tried.
    pub outage: Option<Duration>,
    /// What connections by way of it came to.
    pub health: Health,
}

/// The routes of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Routes {
    /// Held for a decision only, never across a wait.
    state: Arc<Mutex<state::State>>,
    journal: Journal,
}

impl Routes {
    /// These routes with what the journal knows of them.
    #[must_use]
    pub fn new(routes: Vec<Route>, journal: Journal, known: &[LeaseRow]) -> Self {
        let mut state = state::State::default();
        state.set(routes);
        for row in known {
            state.book.restore(hold(row));
        }
        Self {
            state: Arc::new(Mutex::new(state)),
            journal,
        }
    }

    /// With these out of service; a name that is no route's says nothing.
    #[must_use]
    pub fn drained(self, names: BTreeSet<String>) -> Self {
        {
            let mut state = self.state.lock();
            state.drained = names;
            state.forget();
        }
        self
    }

    /// Other routes from now on. Sessions keep theirs: what they hold stays known until they let go.
    pub fn replace(&self, routes: Vec<Route>) {
        self.state.lock().set(routes);
    }

    /// A hold that was found after the start, on a route that nobody else holds.
    pub fn restore(&self, row: &LeaseRow) {
        self.state.lock().book.restore(hold(row));
    }

    /// Takes a route for `instance`; `None` stands for the host's default, or for the client's own
    /// proxy. The caller journals the row before anything uses it.
    ///
    /// # Errors
    /// [`RouteError::Exhausted`] names what was asked for and says how many are held, rest, or cannot
    /// be used.
    pub fn take(
        &self,
        instance: InstanceId,
        wish: &EgressWish,
    ) -> Result<Option<Taken>, RouteError> {
        let now = boot_now()?;
        let mut state = self.state.lock();
        if wish.own.is_some() || (state.routes.is_empty() && !wish.asks()) {
            return Ok(None);
        }
        let all = state.routes.clone();
        let fitting = all.iter().filter(|route| route.fits(wish));
        let fitting: Vec<&str> = fitting.map(|route| &*route.name).collect();
        // Out of the rest while it decides, which asks the rest.
        let mut book = std::mem::take(&mut state.book);
        let usable = |name: &str| state.is_given(name, now);
        let taken = book.take(instance, (&fitting, &wish.sticky), now, usable);
        state.book = book;
        let name = taken.map_err(|exhausted| Exhausted {
            asked: wish.to_string(),
            ..exhausted
        })?;
        Ok(Some(state.taken(instance, name)))
    }

    /// Gives back what was taken for `instance` and nothing has used: it does not rest.
    pub fn put_back(&self, instance: InstanceId) {
        self.state.lock().book.put_back(instance);
    }

    /// The way out of a session, as the relay is told it.
    ///
    /// # Errors
    /// [`Lost`]: it is not known any more.
    pub fn way(&self, session: &SessionRow) -> Result<Way, Lost> {
        let way = self.held_way(session)?;
        let wish = &session.spec.egress;
        Ok(Way {
            limits: way.limits.and(wish.limits),
            bounds: way.bounds.into_iter().chain(wish.bounds.clone()).collect(),
            ..way
        })
    }

    fn held_way(&self, session: &SessionRow) -> Result<Way, Lost> {
        let wish = &session.spec.egress;
        if let Some(own) = &wish.own {
            return own::way(own);
        }
        let Some(name) = session.held_route() else {
            return Ok(Way::default());
        };
        if let Some(route) = self.state.lock().known.get(&name) {
            return Ok(route.way(&Facts {
                session: match &*wish.sticky {
                    "" => session.id.as_str(),
                    key => key,
                },
                ttl: session.spec.ttl,
                place: &route.place,
            }));
        }
        // A bare address needs no configuration to be known.
        let source = name.parse().map_err(|_not_one| Lost::Route(name))?;
        Ok(Way {
            source: Some(source),
            ..Way::default()
        })
    }

    /// What a browser says of where it is that leaves by the route which `instance` holds.
    #[must_use]
    pub fn told_by(&self, instance: InstanceId) -> relay::Place {
        let state = self.state.lock();
        let route = state.book.held_by(instance);
        let route = route.and_then(|name| state.known.get(name));
        route.map_or_else(relay::Place::default, |route| route.place.told())
    }

    /// A route by its name, also one that is there no longer while somebody holds it.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Arc<Route>> {
        self.state.lock().known.get(name).cloned()
    }

    /// What `from` holds is `to`'s from now on, without a rest. Nothing may have left from it yet.
    ///
    /// # Errors
    /// [`JournalError`] where that cannot be written down; the route is held all the same.
    pub async fn pass_on(&self, from: InstanceId, to: InstanceId) -> Result<(), JournalError> {
        let passed = self.state.lock().book.pass_on(from, to).map(str::to_owned);
        let Some(route) = passed else {
            return Ok(());
        };
        let row = LeaseRow {
            instance: to,
            route,
            released: None,
        };
        self.journal.lease(row).await?;
        self.journal.leases_over(vec![from]).await
    }

    /// Gives a route back: it rests from now on. Idempotent; absence is success.
    ///
    /// # Errors
    /// [`JournalError`] where that cannot be written down; the route is free all the same.
    pub async fn release(&self, instance: InstanceId) -> Result<(), JournalError> {
        let Ok(now) = boot_now() else { return Ok(()) };
        let (released, rested) = {
            let mut state = self.state.lock();
            let released = state.book.release(instance, now);
            let rested = state.book.sweep(now);
            state.forget();
            (released, rested)
        };
        if let Some(hold) = released.filter(|hold| !rested.contains(&hold.instance)) {
            self.journal
                .lease(LeaseRow {
                    instance: hold.instance,
                    route: hold.route,
                    released: hold.released,
                })
                .await?;
        }
        if rested.is_empty() {
            return Ok(());
        }
        self.journal.leases_over(rested).await
    }

    /// How connections fared by way of each route that something is known of.
    #[must_use]
    pub fn healths(&self) -> Vec<(String, Health)> {
        let state = self.state.lock();
        let all = state.health.iter();
        all.map(|(name, health)| (name.clone(), health.clone()))
            .collect()
    }

    /// Every configured route as it is now.
    #[must_use]
    pub fn occupancy(&self) -> Vec<Occupancy> {
        let now = match boot_now() {
            Ok(now) => now,
            Err(error) => {
                warn!(%error, "the boot clock cannot be read");
                return Vec::new();
            }
        };
        let state = self.state.lock();
        let routes = state.routes.iter();
        routes.map(|route| state.occupancy(route, now)).collect()
    }
}
