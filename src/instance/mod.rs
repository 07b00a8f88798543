//! Started browsers: one container, one namespace, one relay attachment each.
//!
//! ```text
//! Starting ──▶ Parked ──▶ Bound ──▶ Destroying ──▶ Gone      (failure from anywhere → Destroying)
//! ```
//!
//! An instance is made for a profile and serves at most one session, ever. One driver task owns each
//! of them: what may happen is decided by [`machine`], the way up is in `start` (by type), the one
//! way down in `destroy` (by data, idempotent, retried for ever). Everything on the host is keyed by
//! the instance's id, so a crashed agent finds it all again by name.

mod autopsy;
mod config;
mod destroy;
mod device;
mod driver;
mod error;
mod facts;
mod handle;
mod lend;
pub mod machine;
mod ooms;
mod stage;
mod start;
pub mod strays;
pub mod substrate;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};

pub use autopsy::Autopsy;
pub use config::Config;
pub use error::{InstanceError, StartError};
pub use handle::{Instance, Phone, View};
pub use stage::Stage;
pub use start::binding;

use self::{
    driver::Driver,
    lend::Held,
    ooms::Ooms,
    substrate::android::{self, Binders},
};
use crate::{
    docker::{Container, Docker, ImageFacts},
    journal::{InstanceRow, Journal},
    model::{InstanceId, InstancePhase, NodeId, Substrate},
    netns,
    profile::Catalogue,
    relay::{
        Paths,
        client::{Bind, RelayClient},
    },
    routes::Routes,
    runtime::{DescriptorStore, Steps, Tasks},
    traces::Trace,
};

/// Label of a container: the instance that it is.
pub const INSTANCE_LABEL: &str = "chaser.instance";
/// Label of a container: the node that made it.
pub const NODE_LABEL: &str = "chaser.node";

const MAILBOX: usize = 16;
/// How many containers are taken down at once: more take the cores from the sessions that go on.
const REMOVALS: usize = 2;
/// How many devices boot at once: more make each other's ADB time out.
const BOOTS: usize = 2;

/// Name of the container of an instance: the idempotency key of its creation.
#[must_use]
pub fn container_name(id: InstanceId) -> String {
    format!("chaser-{id}")
}

/// What making and removing instances takes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tools {
    /// `[instance]`.
    pub config: Arc<Config>,
    /// `[substrate]`.
    pub devices: Arc<android::Config>,
    /// What devices instances can be.
    pub profiles: Catalogue,
    /// Whose containers they are.
    pub node: NodeId,
    /// Docker.
    pub docker: Docker,
    /// The journal.
    pub journal: Journal,
    /// The addresses.
    pub routes: Routes,
    /// The relay.
    pub relay: RelayClient,
    /// Where the relay keeps its files.
    pub paths: Paths,
    /// Where egress listeners outlive the agent and the relay.
    pub kept: DescriptorStore,
    /// How long things take.
    pub steps: Steps,
    starts: Arc<Semaphore>,
    /// Boots of devices, which take the host as no browser does.
    boots: Arc<Semaphore>,
    /// Which device has which of the host's binders.
    binders: Arc<Binders>,
    removals: Arc<Semaphore>,
    /// What was known of the image last: each start looks whether it still holds.
    image: Arc<Mutex<Option<ImageFacts>>>,
}

impl Tools {
    /// The tools of one node.
    #[must_use]
    pub fn new(
        node: NodeId,
        (config, devices, profiles): (Config, android::Config, Catalogue),
        docker: Docker,
        (journal, routes): (Journal, Routes),
        (relay, paths, kept): (RelayClient, Paths, DescriptorStore),
    ) -> Self {
        let starts = usize::try_from(config.concurrent_starts)
            .unwrap_or(1)
            .max(1);
        Self {
            config: Arc::new(config),
            devices: Arc::new(devices),
            profiles,
            node,
            docker,
            journal,
            routes,
            relay,
            paths,
            kept,
            steps: Steps::default(),
            starts: Arc::new(Semaphore::new(starts)),
            boots: Arc::new(Semaphore::new(BOOTS)),
            binders: Arc::default(),
            removals: Arc::new(Semaphore::new(REMOVALS)),
            image: Arc::default(),
        }
    }

    /// What bounds the starts of a substrate, and how long one may take.
    fn starting(&self, substrate: Substrate) -> (&Arc<Semaphore>, Duration) {
        match self.devices.settled(substrate) {
            Some(device) => (&self.boots, device.least_ttl()),
            None => (&self.starts, self.config.start_timeout),
        }
    }

    fn labels(&self, id: InstanceId) -> [(String, String); 2] {
        [
            (INSTANCE_LABEL.to_owned(), id.to_string()),
            (NODE_LABEL.to_owned(), self.node.to_string()),
        ]
    }

    /// A container that must be running.
    async fn running(&self, name: &str) -> Result<Container, StartError> {
        match self.docker.inspect(name).await? {
            Some(container) if container.running => Ok(container),
            Some(container) => Err(start::exited(self, &container).await),
            None => Err(StartError::Replaced),
        }
    }
}

/// Every instance of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Instances {
    tools: Tools,
    tasks: Tasks,
    /// Held to look up or to change an entry, never across a wait.
    all: Arc<Mutex<HashMap<InstanceId, Instance>>>,
    /// Counts the changes of any of them.
    changes: Arc<watch::Sender<u64>>,
    /// Counts what the kernel killed for memory in any of them.
    oom_kills: Arc<AtomicU64>,
}

impl Instances {
    /// None yet.
    #[must_use]
    pub fn new(tools: Tools, tasks: &Tasks) -> Self {
        Self {
            tools,
            tasks: tasks.clone(),
            all: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
            oom_kills: Arc::default(),
        }
    }

    /// What they are made with.
    #[must_use]
    pub const fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Drives the instance of a journalled row: one that is `Starting` is started, one that is
    /// `Destroying` is removed.
    pub fn drive(&self, row: InstanceRow) -> Instance {
        self.spawn(row, None, None, None)
    }

    /// Takes over an instance that runs: started by an earlier agent, attached to the relay or not.
    ///
    /// # Errors
    /// [`StartError`] when it is not the container that the journal speaks of.
    pub async fn adopt(
        &self,
        row: InstanceRow,
        phone: Phone,
        bound: Option<Bind>,
    ) -> Result<Instance, StartError> {
        let journalled = row.container.as_ref().ok_or(StartError::Replaced)?;
        // Opened first and looked at afterwards: an init that is the journal's after the open was
        // the journal's at the open.
        let pidfd = netns::pidfd(journalled.pid);
        let container = self.tools.running(&container_name(row.id)).await?;
        if *journalled != binding(&container) {
            return Err(StartError::Replaced);
        }
        let held = Held::found(&self.tools, row.id, pidfd?).await;
        Ok(self.spawn(row, Some(held), Some(phone), bound))
    }

    /// Kills the container of an instance, driven or not; returns once its init is dead.
    ///
    /// # Errors
    /// [`InstanceError`] when Docker cannot.
    pub async fn kill(&self, id: InstanceId) -> Result<(), InstanceError> {
        destroy::kill(&self.tools, id).await
    }

    fn spawn(
        &self,
        row: InstanceRow,
        held: Option<Held>,
        phone: Option<Phone>,
        bound: Option<Bind>,
    ) -> Instance {
        let (mailbox, orders) = mpsc::channel(MAILBOX);
        let view = match (row.phase, &phone) {
            (InstancePhase::Parked, Some(phone)) => View::Parked(phone.clone()),
            (InstancePhase::Bound, Some(phone)) => View::Bound(phone.clone()),
            (InstancePhase::Starting, _) => View::Starting(None),
            _ => View::Destroying(None),
        };
        let (publish, view) = watch::channel(view);
        let ooms = Arc::new(Ooms::new(Arc::clone(&self.oom_kills)));
        if let (Some(_), Some(container)) = (&held, &row.container) {
            ooms.begin(container.pid);
        }
        if let Some(three) = &row.binders {
            self.tools.binders.keep(row.id, (**three).clone());
        }
        let instance = Instance {
            id: row.id,
            substrate: row.substrate,
            mailbox,
            view,
            ooms: Arc::clone(&ooms),
        };
        self.all.lock().insert(row.id, instance.clone());
        let (tools, all, id) = (self.tools.clone(), Arc::clone(&self.all), row.id);
        let trace = Trace::current();
        let (changes, binders) = (Arc::clone(&self.changes), Arc::clone(&tools.binders));
        self.tasks.spawn("instance", move |stop| async move {
            let driver = Driver {
                tools,
                row,
                orders,
                view: publish,
                changes: Arc::clone(&changes),
                stop: stop.clone(),
                held,
                phone,
                bound,
                failure: None,
                trace,
                ooms,
            };
            Box::pin(driver.run()).await;
            if !stop.is_cancelled() {
                all.lock().remove(&id);
                binders.take_back(id);
                changes.send_modify(|count| *count += 1);
            }
        });
        instance
    }

    /// Processes in containers that the kernel has killed for memory, since the agent started.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        self.oom_kills.load(Ordering::Relaxed)
    }

    /// A number that is another one after any instance has changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// One instance, unless nothing of it is left.
    #[must_use]
    pub fn get(&self, id: InstanceId) -> Option<Instance> {
        self.all.lock().get(&id).cloned()
    }

    /// Every instance of which something is left.
    #[must_use]
    pub fn all(&self) -> Vec<Instance> {
        self.all.lock().values().cloned().collect()
    }

    /// How many there are: what admission counts, because each takes memory until it is gone.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.lock().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.lock().is_empty()
    }
}
