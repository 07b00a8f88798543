//! What all connections of one instance share: how they reach an origin, and how they refuse.

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tracing::info;

use super::{
    Route, Setup,
    authority::Authority,
    conn::Stop,
    outer::{Outer, opened},
    pace::Pace,
    refusal::{Reason, Refusal, Refusals},
};

/// Connections that one instance may have at once; Chrome opens 32 to a proxy.
pub(super) const ROOM: usize = 512;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) setup: Setup,
    pub(super) route: watch::Receiver<Option<Route>>,
    pub(super) refusals: Refusals,
    pub(super) room: Arc<Semaphore>,
    /// Guarded by a plain lock: held for a comparison only.
    pace: Mutex<Pace>,
}

/// A connection to an origin, with what it was opened for.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) outer: Outer,
    to: Authority,
    address: SocketAddr,
    route: Route,
}

impl Shared {
    pub(super) fn new(setup: Setup, route: watch::Receiver<Option<Route>>) -> Self {
        Self {
            setup,
            route,
            refusals: Refusals::default(),
            room: Arc::new(Semaphore::new(ROOM)),
            pace: Mutex::new(Pace::new(Instant::now())),
        }
    }

    /// Resolves, judges and connects; waits first while the gate is shut.
    pub(super) async fn dial(&self, to: &Authority) -> Result<Link, Stop> {
        let mut gate = self.setup.gate.clone();
        opened(&mut gate).await.map_err(|_gone| Stop::Broken)?;
        let route = *self.route.borrow();
        let route = route.ok_or_else(|| Refusal::new(Reason::NoRoute, "nobody's yet"))?;
        let policy = Arc::clone(&self.setup.policy.borrow());
        let resolver = &self.setup.resolver;
        let addresses = resolver.resolve(to, &policy, route.source).await?;
        let (outer, address) =
            Outer::dial(&addresses, route.source, &self.setup.meter, gate).await?;
        Ok(Link {
            outer,
            to: to.clone(),
            address,
            route,
        })
    }

    /// Whether a link that was kept may carry a request for `to`.
    pub(super) async fn suits(&self, link: &mut Link, to: &Authority) -> bool {
        let same = link.to == *to && *self.route.borrow() == Some(link.route);
        let policy = Arc::clone(&self.setup.policy.borrow());
        same && self.setup.resolver.still_permits(link.address, &policy)
            && link.outer.down.is_quiet().await
    }

    /// One line and one count for a request that is answered here.
    pub(super) fn note(&self, refusal: &Refusal, to: Option<&Authority>) {
        self.refusals.count(refusal.reason);
        let Some(unlogged) = self.pace.lock().admit(Instant::now()) else {
            return;
        };
        let target = to.map(ToString::to_string);
        info!(
            instance = %self.setup.instance,
            target = target.as_deref().unwrap_or("-"),
            reason = %refusal.reason,
            detail = %refusal.detail,
            unlogged,
            "egress refused"
        );
    }
}
