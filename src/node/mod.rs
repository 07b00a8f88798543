//! The host as one thing: admission, status, what it answers to a control plane.
//!
//! Whoever holds the state directory's lock may [`start`] a node on it: the journal, Docker, the relay,
//! while the sockets say STARTING already. Then questions are answered while the journal is compared with the
//! host ([`reconcile`] decides, `restart` carries out); orders are taken from `Ready` on. Four tasks
//! keep it true afterwards: the link to the relay, the ear at Docker, the folding of the meters, the
//! sweep; a fifth keeps browsers [`pool`]ed for orders to come.

mod admission;
mod closing;
mod config;
mod drain;
mod error;
mod failover;
mod grant;
mod guard;
mod hooks;
mod leading;
mod lease;
mod ledger;
mod link;
mod notice;
mod operations;
mod orders;
mod orphans;
mod ownership;
mod parts;
mod pool;
mod rebuild;
pub mod reconcile;
mod restart;
mod shed;
mod status;
mod substrates;
mod upkeep;
mod vitals;
mod ways;
mod web;
mod wheels;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use config::Config;
pub use error::{NodeError, StartError};
pub use hooks::{Config as HooksConfig, EVENTS, HookStatus, HooksError};
pub use lease::LeaseStatus;
pub use notice::{Config as NoticeConfig, Source as NoticeSource};
pub use operations::{Capacity, Operations, Pressure};
pub use orders::Placement;
pub use ownership::Ownership;
pub use parts::Parts;
pub use pool::{Config as PoolConfig, PoolProfile, UnknownProfile};
pub use status::{AddressStatus, NodeState, Status};
pub use substrates::{SubstrateStatus, substrates};
pub use wheels::Stalled;

use self::{
    guard::Guard,
    hooks::Hooks,
    link::Link,
    ownership::Disowned,
    pool::Pool,
    status::{Conditions, Counted},
    vitals::Vitals,
    wheels::Wheels,
};
use crate::{
    docker::Docker,
    host::monitor,
    instance::{Instances, NODE_LABEL, Tools},
    journal::{self, Damage, Journal, Recovered, StateLock},
    model::{Lease, NodeId},
    profile::Catalogue,
    relay::{
        client::{RelayClient, Settings, Welcome},
        launch::LaunchError,
    },
    routes::{Routes, Sources},
    runtime::Tasks,
    session::{self, Host, Hub, Sessions},
};

/// A host of sessions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: NodeId,
    max_sessions: u32,
    config: Config,
    session: session::Config,
    egress: Sources,
    denied_hosts: watch::Sender<String>,
    settings: Settings,
    journal: Journal,
    instances: Arc<Instances>,
    pool: Pool,
    sessions: Sessions<Host>,
    hub: Hub,
    counted: Counted,
    /// What was wrong with the journal at the start.
    damage: Option<Damage>,
    conditions: watch::Sender<Conditions>,
    /// Held to judge, never across a wait.
    disowned: Mutex<Disowned>,
    relay: watch::Sender<Option<Welcome>>,
    /// How the host fares, and what follows from it.
    guard: Guard,
    hooks: Hooks,
    notice: NoticeConfig,
    /// Whether Docker's events are heard.
    ear: monitor::Pulse,
    /// The control plane's, as it was granted last.
    lease: watch::Sender<Option<Lease>>,
    /// Whether where it stands is of this process alone, and the next start knows nothing of it.
    passing: AtomicBool,
    /// What must turn for as long as the process is well.
    wheels: Wheels,
    /// Between two looks at the host.
    sample_interval: Duration,
    /// Cancelled when everything was ended: from then on the relay may stay away.
    ended: CancellationToken,
    /// Held for as long as the node lives.
    _lock: StateLock,
}

/// Starts a node on the state directory that `lock` holds. It answers questions when this returns,
/// and takes orders once it is `Ready`.
///
/// # Errors
/// [`StartError`] with what an operator can do about it; nothing runs then that did not before.
pub async fn start(parts: Parts, lock: StateLock, tasks: &Tasks) -> Result<Node, StartError> {
    let pool = Pool::new(parts.pool, &parts.substrate, &parts.profiles)?;
    let hooks = Hooks::open(parts.hooks, &parts.state_dir)?;
    let (journal, known) = journal::open(&parts.state_dir.join("node.db"))?;
    let docker = Docker::connect(&parts.node.docker).await?;
    let relay = RelayClient::new(&parts.launch.paths, known.epoch).map_err(LaunchError::from)?;
    let mut link = Link {
        launch: parts.launch.clone(),
        settings: parts.settings.clone(),
        relay: relay.clone(),
        gateway: None,
    };
    let welcome = link.greet(&known.sessions).await?;
    let routes = Routes::new(parts.egress.all()?, journal.clone(), &known.leases)
        .drained(parts.egress.drained()?);
    let tools = Tools::new(
        known.node,
        (parts.instance, parts.substrate, parts.profiles),
        docker,
        (journal.clone(), routes),
        (relay, parts.launch.paths, parts.kept),
    );
    let instances = Arc::new(Instances::new(tools, tasks));
    let host = Host {
        instances: Arc::clone(&instances),
    };
    let hub = Hub::new(known.epoch);
    let max_sessions = admission::of_this_host(&parts.node, &instances.tools().config);
    let node = Node {
        inner: Arc::new(Inner {
            id: known.node,
            max_sessions,
            config: parts.node,
            session: parts.session,
            egress: parts.egress,
            denied_hosts: parts.denied_hosts,
            settings: parts.settings,
            sessions: Sessions::new(host, journal.clone(), hub.clone(), tasks),
            journal,
            instances,
            pool,
            hub,
            counted: Counted::default(),
            damage: known.damage.clone(),
            conditions: watch::Sender::new(Conditions::at_first(known.duty)),
            disowned: Mutex::default(),
            relay: watch::Sender::new(Some(welcome.clone())),
            guard: Guard::new(parts.host.recovery),
            hooks,
            notice: parts.notice,
            ear: monitor::Pulse::new(),
            lease: watch::Sender::new(known.lease),
            passing: AtomicBool::new(false),
            wheels: Wheels::default(),
            sample_interval: parts.host.sample_interval,
            ended: CancellationToken::new(),
            _lock: lock,
        }),
    };
    let vitals = Vitals::new(&node, parts.host, parts.state_dir);
    let (settling, tasks_of_node) = (node.clone(), tasks.clone());
    tasks.spawn("reconcile", move |stop| async move {
        tokio::select! {
            () = settling.settle((link, welcome), (known, vitals), &tasks_of_node) => {}
            () = stop.cancelled() => {}
        }
    });
    Ok(node)
}

impl Node {
    /// Compares the journal with the host, then takes orders and keeps everything true.
    async fn settle(
        &self,
        (link, welcome): (Link, Welcome),
        (known, vitals): (Recovered, Vitals),
        tasks: &Tasks,
    ) {
        Box::pin(restart::run(self, known, tasks)).await;
        self.instances().tools().kept.remove_the_rest().await;
        self.inner.hooks.start(self, tasks);
        let node = || self.clone();
        let (linked, eared, folded, swept, kept) = (node(), node(), node(), node(), node());
        tasks.spawn("relay link", |stop| link.run(linked, welcome, stop));
        tasks.spawn("docker events", |stop| upkeep::listen(eared, stop));
        tasks.spawn("meters", |stop| upkeep::fold(folded, stop));
        tasks.spawn("sweep", |stop| upkeep::sweep(swept, stop));
        let (drained, disowned, told) = (node(), node(), node());
        tasks.spawn("moving meters", |stop| upkeep::tell(told, stop));
        tasks.spawn("drain", |stop| drain::run(drained, stop));
        tasks.spawn("disowned", |stop| ownership::run(disowned, stop));
        let (watching, notice) = (node(), self.inner.notice.clone());
        tasks.spawn("notice", |stop| notice::run(watching, notice, stop));
        vitals.start(&node(), tasks);
        let watched = node();
        tasks.spawn("egress routes", |stop| ways::run(watched, stop));
        tasks.spawn("pool", |stop| pool::run(kept, stop));
        self.condition(|conditions| conditions.settled = true);
        info!(node = %self.inner.id, max_sessions = self.inner.max_sessions, "node ready");
    }

    fn sessions(&self) -> &Sessions<Host> {
        &self.inner.sessions
    }

    fn instances(&self) -> &Instances {
        &self.inner.instances
    }

    fn guard(&self) -> &Guard {
        &self.inner.guard
    }

    fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    fn routes(&self) -> &Routes {
        &self.inner.instances.tools().routes
    }

    fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    fn retention(&self) -> Duration {
        self.inner.session.retention
    }

    /// The label of everything that this node makes.
    fn label(&self) -> String {
        format!("{NODE_LABEL}={}", self.inner.id)
    }

    /// Which node.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.inner.id
    }

    /// Sessions that may live at once.
    #[must_use]
    pub fn max_sessions(&self) -> u32 {
        self.inner.max_sessions
    }

    /// How long a session may be idle whose order does not say.
    #[must_use]
    pub fn idle_default(&self) -> Duration {
        self.inner.session.idle_timeout
    }

    /// What devices sessions can be.
    #[must_use]
    pub fn profiles(&self) -> &Catalogue {
        &self.inner.instances.tools().profiles
    }

    /// The events of this node.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    /// Whether it takes sessions.
    #[must_use]
    pub fn state(&self) -> NodeState {
        self.inner.conditions.borrow().state()
    }

    /// Returns once [`Node::state`] is another one than `known`: the new one. Cancel-safe.
    pub async fn state_after(&self, known: &NodeState) -> NodeState {
        Conditions::state_after(&self.inner.conditions, known).await
    }

    fn relay(&self) -> Option<Welcome> {
        self.inner.relay.borrow().clone()
    }

    fn condition(&self, change: impl FnOnce(&mut Conditions)) {
        self.inner.conditions.send_if_modified(|conditions| {
            let before = conditions.clone();
            change(conditions);
            let changed = before != *conditions;
            if changed && before.state() != conditions.state() {
                info!(state = ?conditions.state(), "node");
            }
            changed
        });
    }

    /// The relay came back, or there is none.
    fn relay_is(&self, now: Result<Welcome, String>) {
        let (relay, down) = match now {
            Ok(welcome) => (Some(welcome), None),
            Err(why) => (None, Some(why)),
        };
        self.inner.relay.send_replace(relay);
        self.condition(|conditions| conditions.relay_down = down);
    }
}
