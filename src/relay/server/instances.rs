//! Attached instances: what the relay holds for each container.

use std::{collections::HashMap, io, net::SocketAddr, os::fd::OwnedFd, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    model::{InstanceId, SessionId},
    profile::Profile,
    relay::{
        Dialer,
        egress::{Egress, Policy, Resolver, Route, Setup},
        meter::Meter,
        supervisor::{self, Supervisor, SupervisorError},
    },
    runtime::{Death, Tasks},
};

/// Where DevTools listens inside every container.
pub(super) const DEVTOOLS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9222);

/// Sockets may wait this many at a time for their `Attach`.
const STAGED: usize = 256;

/// Sockets that came over the hand-over channel, waiting for their `Attach`.
#[derive(Debug)]
pub(super) struct Staged {
    /// Readable once the container's init is dead.
    pub(super) pidfd: OwnedFd,
    /// Listening where the browser's proxy is, inside.
    pub(super) egress: OwnedFd,
    /// Unconnected, inside.
    pub(super) dial: Vec<OwnedFd>,
}

/// One instance in use.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) instance: InstanceId,
    pub(super) dialer: Arc<Dialer>,
    pub(super) meter: Arc<Meter>,
    pub(super) supervisor: Supervisor,
    egress: Egress,
    /// Who holds it; set once.
    pub(super) session: Mutex<Option<SessionId>>,
    tasks: Tasks,
    /// Turns true when the container's init dies.
    dead: watch::Receiver<bool>,
}

/// What every attachment shares.
#[derive(Debug, Clone)]
pub(super) struct Outside {
    pub(super) policy: watch::Receiver<Arc<Policy>>,
    pub(super) resolver: Arc<Resolver>,
}

/// Why an instance could not be attached.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttachFailed {
    #[error("no sockets were sent for it")]
    NoSockets,
    #[error("it is being attached already")]
    Busy,
    #[error("it was detached meanwhile")]
    Detached,
    #[error("its container died meanwhile")]
    Died,
    #[error("the browser cannot be made a phone: {0}")]
    Supervisor(#[from] SupervisorError),
    #[error("its sockets or counters are unusable: {0}")]
    Io(#[from] io::Error),
}

/// All instances that this relay knows.
#[derive(Debug, Default)]
pub(super) struct Instances {
    /// Guarded by a plain lock: no await while it is held.
    slots: Mutex<HashMap<InstanceId, Slot>>,
}

#[derive(Debug)]
enum Slot {
    Staged(Staged),
    Attaching(CancellationToken),
    Attached(Arc<Attachment>),
}

impl Instances {
    /// Keeps sockets until `Attach` asks for them; newer ones replace older ones.
    ///
    /// # Errors
    /// A sentence, when the instance is further or too many wait.
    pub(super) fn stage(&self, instance: InstanceId, staged: Staged) -> Result<(), String> {
        let mut slots = self.slots.lock();
        match slots.get(&instance) {
            Some(Slot::Attaching(_) | Slot::Attached(_)) => {
                return Err(format!("{instance} has its sockets already"));
            }
            Some(Slot::Staged(_)) => {}
            None if slots.len() >= STAGED + self.attached_in(&slots) => {
                return Err(format!("{STAGED} instances wait to be attached already"));
            }
            None => {}
        }
        slots.insert(instance, Slot::Staged(staged));
        Ok(())
    }

    /// Takes staged sockets for attaching.
    ///
    /// # Errors
    /// [`AttachFailed`]; an instance that is attached already is no error.
    pub(super) fn begin(&self, instance: InstanceId) -> Result<Begun, AttachFailed> {
        let mut slots = self.slots.lock();
        match slots.remove(&instance) {
            None => Err(AttachFailed::NoSockets),
            Some(Slot::Staged(staged)) => {
                let detached = CancellationToken::new();
                slots.insert(instance, Slot::Attaching(detached.clone()));
                Ok(Begun::Fresh(staged, detached))
            }
            Some(Slot::Attaching(detached)) => {
                slots.insert(instance, Slot::Attaching(detached));
                Err(AttachFailed::Busy)
            }
            Some(Slot::Attached(attachment)) => {
                slots.insert(instance, Slot::Attached(Arc::clone(&attachment)));
                Ok(Begun::Already(attachment))
            }
        }
    }

    /// Files the outcome of attaching; `false` when the instance was detached meanwhile.
    pub(super) fn finish(&self, instance: InstanceId, attached: Option<&Arc<Attachment>>) -> bool {
        let mut slots = self.slots.lock();
        match (slots.get(&instance), attached) {
            (Some(Slot::Attaching(detached)), Some(attachment)) if !detached.is_cancelled() => {
                slots.insert(instance, Slot::Attached(Arc::clone(attachment)));
                true
            }
            (Some(Slot::Attaching(_)), _) => {
                slots.remove(&instance);
                false
            }
            _ => false,
        }
    }

    /// An attached instance.
    pub(super) fn get(&self, instance: InstanceId) -> Option<Arc<Attachment>> {
        match self.slots.lock().get(&instance) {
            Some(Slot::Attached(attachment)) => Some(Arc::clone(attachment)),
            Some(Slot::Staged(_) | Slot::Attaching(_)) | None => None,
        }
    }

    /// Every attached instance.
    pub(super) fn all(&self) -> Vec<Arc<Attachment>> {
        let slots = self.slots.lock();
        let attached = slots.values().filter_map(|slot| match slot {
            Slot::Attached(attachment) => Some(Arc::clone(attachment)),
            Slot::Staged(_) | Slot::Attaching(_) => None,
        });
        attached.collect()
    }

    /// Whether nothing at all is held.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.lock().is_empty()
    }

    /// Lets go of an instance, whatever its state.
    pub(super) fn take(&self, instance: InstanceId) -> Option<Arc<Attachment>> {
        match self.slots.lock().remove(&instance)? {
            Slot::Attached(attachment) => Some(attachment),
            Slot::Attaching(detached) => {
                detached.cancel();
                None
            }
            Slot::Staged(_) => None,
        }
    }

    fn attached_in(&self, slots: &HashMap<InstanceId, Slot>) -> usize {
        slots
            .values()
            .filter(|slot| matches!(slot, Slot::Attached(_)))
            .count()
    }
}

/// What [`Instances::begin`] found.
#[derive(Debug)]
pub(super) enum Begun {
    /// Sockets to attach with, and the token of a detach that comes meanwhile.
    Fresh(Staged, CancellationToken),
    /// It is attached already.
    Already(Arc<Attachment>),
}

impl Attachment {
    /// Makes a phone of the browser behind `staged`, then lets its egress listener accept.
    ///
    /// # Errors
    /// [`AttachFailed`]; nothing is held after a failure.
    pub(super) async fn establish(
        instance: InstanceId,
        staged: Staged,
        profile: Profile,
        meter_file: PathBuf,
        outside: Outside,
        tasks: Tasks,
    ) -> Result<Self, AttachFailed> {
        let dialer = Arc::new(Dialer::new(DEVTOOLS, staged.dial));
        let meter = Arc::new(Meter::create(&meter_file, instance)?);
        let mut dead = watch_death(staged.pidfd, &tasks)?;
        let phone = supervisor::start(Arc::clone(&dialer), Arc::new(profile), &tasks);
        let supervisor = tokio::select! {
            phone = phone => phone?,
            _ = dead.wait_for(|dead| *dead) => return Err(AttachFailed::Died),
        };
        let setup = Setup {
            instance,
            meter: Arc::clone(&meter),
            gate: supervisor.gate(),
            policy: outside.policy,
            resolver: outside.resolver,
        };
        let egress = Egress::start(staged.egress, setup, &tasks)?;
        info!(%instance, browser = supervisor.browser().product, "attached");
        Ok(Self {
            instance,
            dialer,
            meter,
            supervisor,
            egress,
            session: Mutex::new(None),
            tasks,
            dead,
        })
    }

    /// Lets the browser's connections out, from `source`.
    pub(super) fn open_route(&self, source: Option<std::net::IpAddr>) {
        self.egress.set_route(Some(Route { source }));
    }

    /// Cuts all traffic; when this returns the counters are final.
    pub(super) async fn cut(&self) {
        self.egress.cut().await;
        self.meter.seal();
    }

    /// Returns once the container's init is dead.
    pub(super) async fn died(&self) {
        let mut dead = self.dead.clone();
        // The sender only goes with the attachment's own tasks: then there is nothing to wait for.
        if dead.wait_for(|dead| *dead).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs `work` until it is done or the attachment is closed.
    pub(super) fn spawn(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tasks.spawn(name, |stop| async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Stops everything that runs for it.
    pub(super) async fn close(&self) {
        self.cut().await;
        let stuck = self.tasks.drain(std::time::Duration::from_secs(5)).await;
        if let Err(stuck) = stuck {
            tracing::warn!(instance = %self.instance, error = %stuck, "an attachment closes slowly");
        }
    }

    /// What was refused to its pages, by reason.
    pub(super) fn refusals(&self) -> Vec<(&'static str, u64)> {
        let refusals = self.egress.refusals().iter();
        let seen = refusals.filter(|(_, count)| *count > 0);
        seen.map(|(reason, count)| (reason.as_str(), count))
            .collect()
    }
}

/// Turns true when the process behind `pidfd` dies: earlier than any event of Docker, and never for
/// a later process with the same pid (pidfd_open(2)).
fn watch_death(pidfd: OwnedFd, tasks: &Tasks) -> io::Result<watch::Receiver<bool>> {
    let death = Death::of(pidfd)?;
    let (tell, dead) = watch::channel(false);
    tasks.spawn("death-watch", |stop| async move {
        tokio::select! {
            died = death.wait() => if died.is_ok() { tell.send_replace(true); },
            () = stop.cancelled() => {}
        }
    });
    Ok(dead)
}
