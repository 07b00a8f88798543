//! What all connections of one instance share: how they reach an origin, and how they refuse.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tracing::info;

use super::{
    Setup,
    authority::{Authority, Host},
    conn::Stop,
    gate::opened,
    hosts::{ByHost, Count},
    outer::Outer,
    pace::Pace,
    refusal::{Reason, Refusal, Refusals},
    route::Route,
};
use crate::{
    model::{Beyond, Bounds, Form, HostTraffic},
    relay::way::Upstream,
};

/// Connections that one instance may have at once; Chrome opens 32 to a proxy.
pub(super) const ROOM: usize = 512;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) setup: Setup,
    pub(super) route: watch::Receiver<Option<Arc<Route>>>,
    pub(super) refusals: Refusals,
    pub(super) room: Arc<Semaphore>,
    /// Connections that an upstream has made.
    pub(super) reached: AtomicU64,
    /// Made with the first connection that is counted by host.
    hosts: OnceLock<ByHost>,
    /// Guarded by a plain lock: held for a comparison only.
    pace: Mutex<Pace>,
}

/// A connection to an origin, with what it was opened for.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) outer: Outer,
    to: Authority,
    /// What was connected to; `None` where an upstream was asked to.
    address: Option<SocketAddr>,
    route: Arc<Route>,
}

impl Shared {
    pub(super) fn new(setup: Setup, route: watch::Receiver<Option<Arc<Route>>>) -> Self {
        Self {
            setup,
            route,
            refusals: Refusals::default(),
            room: Arc::new(Semaphore::new(ROOM)),
            reached: AtomicU64::new(0),
            hosts: OnceLock::new(),
            pace: Mutex::new(Pace::new(Instant::now())),
        }
    }

    /// Resolves, judges and connects; waits first while the gate is shut.
    pub(super) async fn dial(&self, to: &Authority, form: Form) -> Result<Link, Stop> {
        let mut gate = self.setup.gate.clone();
        opened(&mut gate).await.map_err(|_gone| Stop::Broken)?;
        self.judge_name(to)?;
        let route = self.route.borrow().clone();
        let route = route.ok_or_else(|| Refusal::new(Reason::NoRoute, "nobody's yet"))?;
        within(&route.way.bounds, form, to)?;
        let (outer, address) = match &route.way.upstream {
            None => {
                let (outer, address) = self.straight(&route, to, gate).await?;
                (outer, Some(address))
            }
            // Boxed: most tunnels know no upstream and need not carry the room for one.
            Some(upstream) => {
                let reached = Box::pin(self.around(&route, (upstream, to), gate));
                (reached.await?, None)
            }
        };
        self.reached.fetch_add(1, Ordering::Relaxed);
        Ok(Link {
            outer,
            to: to.clone(),
            address,
            route,
        })
    }

    /// Where the bytes of a connection to `to` are counted beside, if an operator wants to know.
    fn by_host(&self, to: &Authority) -> Option<Arc<Count>> {
        let top = *self.setup.top_hosts.borrow();
        let hosts = (top > 0).then(|| self.hosts.get_or_init(|| ByHost::new(top)))?;
        Some(match &to.host {
            Host::Name(name) => hosts.count(name),
            Host::Ip(ip) => hosts.count(&ip.to_string()),
        })
    }

    /// The hosts with the most bytes, and all others together; empty where they are not counted.
    pub(super) fn top_hosts(&self) -> Vec<HostTraffic> {
        let top = *self.setup.top_hosts.borrow();
        let hosts = self.hosts.get().filter(|_| top > 0);
        hosts.map_or_else(Vec::new, |hosts| hosts.top(top))
    }

    /// One more request of a page's.
    pub(super) fn admit(&self) -> Result<(), Refusal> {
        match self.route.borrow().as_deref() {
            Some(Route {
                ration: Some(ration),
                ..
            }) => ration.admit(),
            _ => Ok(()),
        }
    }

    /// Names that are denied are neither looked up nor handed on.
    fn judge_name(&self, to: &Authority) -> Result<(), Refusal> {
        match &to.host {
            Host::Name(name) if self.setup.policy.borrow().denies_name(name) => Err(Refusal::new(
                Reason::DeniedHost,
                "a name on the operator's list",
            )),
            Host::Name(_) | Host::Ip(_) => Ok(()),
        }
    }

    /// Connects to one of the target's own addresses.
    async fn straight(
        &self,
        route: &Route,
        to: &Authority,
        gate: watch::Receiver<bool>,
    ) -> Result<(Outer, SocketAddr), Refusal> {
        let policy = Arc::clone(&self.setup.policy.borrow());
        let (way, resolver) = (&route.way, route.resolver(&self.setup.resolver)?);
        let addresses = resolver.addresses(to, Some(&policy), way.source).await?;
        let bounds = &way.bounds;
        let addresses: Vec<_> = addresses
            .into_iter()
            .filter(|to| bounds.iter().all(|each| each.hold_address(to.ip())))
            .collect();
        if addresses.is_empty() {
            return Err(beyond(Beyond::Network));
        }
        let account = route.account(&self.setup.meter, self.by_host(to))?;
        Outer::dial(&addresses, way, account, gate).await
    }

    /// Has an upstream connect.
    async fn around(
        &self,
        route: &Route,
        (upstream, to): (&Upstream, &Authority),
        gate: watch::Receiver<bool>,
    ) -> Result<Outer, Refusal> {
        let policy = Arc::clone(&self.setup.policy.borrow());
        let resolver = &self.setup.resolver;
        resolver.may_be_handed_on(to, &policy)?;
        let judge = upstream.is_foreign.then_some(&*policy);
        let mut bounds = route.way.bounds.iter();
        let known = match &to.host {
            Host::Ip(ip) => bounds.all(|each| each.hold_address(*ip)),
            Host::Name(_) => bounds.all(Bounds::hold_unknown),
        };
        if !known {
            return Err(beyond(Beyond::Network));
        }
        let account = route.account(&self.setup.meter, self.by_host(to))?;
        let ways = (&**resolver, judge);
        route.reach((upstream, to), ways, account, gate).await
    }

    /// Whether a link that was kept may carry a request for `to`.
    pub(super) async fn suits(&self, link: &mut Link, to: &Authority) -> bool {
        let here = |now: &Arc<Route>| Arc::ptr_eq(now, &link.route);
        let same = link.to == *to && self.route.borrow().as_ref().is_some_and(here);
        let policy = Arc::clone(&self.setup.policy.borrow());
        let resolver = &self.setup.resolver;
        let permitted = match link.address {
            Some(address) => resolver.still_permits(address, &policy),
            None => resolver.may_be_handed_on(to, &policy).is_ok(),
        };
        let permitted = permitted && self.judge_name(to).is_ok();
        same && permitted && link.outer.down.is_quiet().await
    }

    /// One line and one count for a request that is refused.
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

/// Whether `to` is within all of `bounds` as far as can be known before it is looked up.
fn within(bounds: &[Bounds], form: Form, to: &Authority) -> Result<(), Refusal> {
    let mut each = bounds.iter();
    each.try_for_each(|one| one.hold(form, to.name(), to.port))
        .map_err(beyond)
}

pub(super) fn beyond(what: Beyond) -> Refusal {
    let reason = match what {
        Beyond::Network => Reason::DeniedAddress,
        Beyond::Host => Reason::DeniedHost,
        Beyond::Port => Reason::DeniedPort,
        Beyond::Form => Reason::DeniedScheme,
    };
    Refusal::new(reason, "out of the session's bounds")
}
