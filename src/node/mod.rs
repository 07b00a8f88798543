//! The host as one thing: admission, status, what it answers to a control plane.
//!
//! A node is opened in an order that never blocks its port: journal, relay, then the journal is
//! compared with Docker and the relay ([`reconcile`]) while questions are answered already; orders
//! are taken from `Ready` on. Three tasks keep it true afterwards: the link to the relay, the ear at
//! Docker, and the upkeep of journal and meters.

mod admission;
mod error;
mod ledger;
mod link;
mod orders;
mod reconcile;
mod status;
mod upkeep;

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::sync::watch;
use tracing::info;

pub use admission::validate;
pub use error::NodeError;
pub use orders::Place;
pub use status::{Memory, NodeState, Status};

use self::link::Link;
use crate::{
    docker::Docker,
    instance::{self, Instances, NODE_LABEL, Tools, View},
    journal::{Journal, Recovered},
    model::{EndReason, InstanceId, NodeId, Phase},
    relay::{
        client::{RelayClient, RelayError, Settings, Welcome},
        launch::{Launch, LaunchError},
    },
    routes::{self, Routes},
    runtime::Tasks,
    session::{self, Host, Hub, Sessions},
};

/// `[node]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Sessions that may live at once; 0 derives it from the host's memory.
    pub max_sessions: u32,
    /// gRPC over TCP beside `R/node.sock`; none by default.
    pub listen: Option<std::net::SocketAddr>,
    /// Docker's socket.
    pub docker: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_sessions: 0,
            listen: None,
            docker: "/var/run/docker.sock".to_owned(),
        }
    }
}

/// What a node is made of.
#[derive(Debug)]
pub struct Parts {
    /// `[node]`.
    pub node: Config,
    /// `[instance]`.
    pub instance: instance::Config,
    /// `[session]`.
    pub session: session::Config,
    /// `[egress]`.
    pub egress: routes::Config,
    /// How the relay is found or started.
    pub launch: Launch,
    /// What the relay is told.
    pub settings: Settings,
    /// Docker, connected.
    pub docker: Docker,
    /// The journal, open.
    pub journal: Journal,
}

/// A host of sessions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: NodeId,
    image: String,
    max_sessions: u32,
    session: session::Config,
    journal: Journal,
    routes: Routes,
    instances: Arc<Instances>,
    sessions: Sessions<Host>,
    hub: Hub,
    state: watch::Sender<NodeState>,
    relay: watch::Sender<Option<Welcome>>,
}

/// What was left when the time for ending everything ran out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Sessions that have not ended.
    pub sessions: usize,
    /// Instances of which something is left.
    pub instances: usize,
}

/// The relay that was found or started when the node was opened, and how to stay with it.
#[derive(Debug)]
pub struct Opened {
    /// The node; it answers questions, and orders once [`Opened::settle`] has run.
    pub node: Node,
    link: Link,
    welcome: Welcome,
    known: Recovered,
}

impl Node {
    /// Finds or starts the relay and assembles the node. Nothing is changed on the host yet.
    ///
    /// # Errors
    /// [`LaunchError`] when there can be no relay.
    pub async fn open(
        parts: Parts,
        known: Recovered,
        tasks: &Tasks,
    ) -> Result<Opened, LaunchError> {
        let relay = RelayClient::new(&parts.launch.paths, known.epoch)
            .map_err(|error: RelayError| LaunchError::Relay(error))?;
        let mut link = Link {
            launch: parts.launch.clone(),
            settings: parts.settings,
            relay: relay.clone(),
            gateway: None,
        };
        let welcome = link.greet().await?;
        let routes = Routes::new(&parts.egress, parts.journal.clone(), &known.leases);
        let image = parts.instance.image.clone();
        let tools = Tools::new(
            (known.node, parts.instance),
            parts.docker,
            (parts.journal.clone(), routes.clone()),
            (relay, parts.launch.paths.clone()),
        );
        let instances = Arc::new(Instances::new(tools, tasks));
        let hub = Hub::new(known.epoch);
        let host = Host {
            instances: Arc::clone(&instances),
        };
        let sessions = Sessions::new(host, parts.journal.clone(), hub.clone(), tasks);
        let inner = Inner {
            id: known.node,
            image,
            max_sessions: admission::capacity(parts.node.max_sessions, Memory::now().total),
            session: parts.session,
            journal: parts.journal,
            routes,
            instances,
            sessions,
            hub,
            state: watch::Sender::new(NodeState::Starting),
            relay: watch::Sender::new(Some(welcome.clone())),
        };
        let node = Self {
            inner: Arc::new(inner),
        };
        Ok(Opened {
            node,
            link,
            welcome,
            known,
        })
    }

    fn sessions(&self) -> &Sessions<Host> {
        &self.inner.sessions
    }

    fn instances(&self) -> &Instances {
        &self.inner.instances
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

    /// What an order gets that does not say otherwise.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        self.inner.session.idle_timeout
    }

    /// The events of this node.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    /// Whether it takes sessions, as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<NodeState> {
        self.inner.state.subscribe()
    }

    /// The relay came back, or there is none.
    fn relay_is(&self, now: Result<Welcome, String>) {
        let (relay, state) = match now {
            Ok(welcome) => (Some(welcome), NodeState::Ready),
            Err(why) => (
                None,
                NodeState::NotReady(format!("there is no relay: {why}")),
            ),
        };
        self.inner.relay.send_replace(relay);
        self.inner.state.send_if_modified(|known| {
            // A node that stops stays so, whatever its relay does.
            let changes = *known != state && *known != stopping();
            if changes {
                *known = state;
            }
            changes
        });
    }

    /// The node, seen from outside.
    #[must_use]
    pub fn status(&self) -> Status {
        let rows: Vec<_> = self
            .sessions()
            .all()
            .iter()
            .map(session::Session::row)
            .collect();
        let count = |phase| saturated(rows.iter().filter(|row| row.phase == phase).count());
        Status {
            node: self.inner.id,
            version: env!("CARGO_PKG_VERSION"),
            state: self.inner.state.borrow().clone(),
            max_sessions: self.inner.max_sessions,
            creating: count(Phase::Creating),
            ready: count(Phase::Ready),
            closing: count(Phase::Closing),
            destroying: saturated(self.destroying()),
            addresses: self.inner.routes.occupancy(),
            relay: self.inner.relay.borrow().clone(),
            image: self.inner.image.clone(),
            memory: Memory::now(),
        }
    }

    fn destroying(&self) -> usize {
        let leaving = |view| matches!(view, View::Destroying(_));
        let all = self.instances().all();
        all.iter().filter(|i| leaving(i.view())).count()
    }

    /// Takes no more orders, ends every session and waits until nothing of them is left, or until
    /// `limit` has passed.
    pub async fn end_all(&self, limit: Duration) -> Left {
        self.inner.state.send_replace(stopping());
        let end = async {
            let sessions = self.sessions().all();
            info!(sessions = sessions.len(), "ending every session");
            let ends = sessions.iter().map(|session| {
                let detail = Some("node is shutting down".to_owned());
                session.end(EndReason::SubstrateDown, detail)
            });
            futures::future::join_all(ends).await;
            let instances = self.instances().all();
            futures::future::join_all(instances.iter().map(instance::Instance::gone)).await;
        };
        drop(tokio::time::timeout(limit, end).await);
        let live = |session: &session::Session| session.row().phase != Phase::Ended;
        Left {
            sessions: self.sessions().all().iter().filter(|s| live(s)).count(),
            instances: self.instances().len(),
        }
    }

    /// Where an instance's container is known to be.
    fn name_of(instance: InstanceId) -> String {
        instance::container_name(instance)
    }
}

impl Opened {
    /// Compares the journal with the host, then takes orders and keeps everything true.
    pub async fn settle(self, tasks: &Tasks) {
        let Self {
            node,
            link,
            welcome,
            known,
        } = self;
        Box::pin(reconcile::run(&node, known)).await;
        let (linked, eared, folded) = (node.clone(), node.clone(), node.clone());
        tasks.spawn("relay link", |stop| link.run(linked, welcome, stop));
        tasks.spawn("docker events", |stop| upkeep::listen(eared, stop));
        tasks.spawn("meters", |stop| upkeep::fold(folded, stop));
        node.inner.state.send_if_modified(|state| {
            let first = *state == NodeState::Starting;
            if first {
                *state = NodeState::Ready;
            }
            first
        });
        tasks.spawn("sweep", |stop| upkeep::sweep(node, stop));
    }
}

fn stopping() -> NodeState {
    NodeState::NotReady("the node is shutting down".to_owned())
}

fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
