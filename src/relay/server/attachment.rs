//! One attached instance: its sockets, supervisor, egress and counters, and who holds it.

use std::{io, net::SocketAddr, os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::info;

use crate::{
    model::{HostTraffic, InstanceId, SessionId},
    profile::Profile,
    relay::{
        DevTools, Device, Way,
        egress::{Egress, Policy, Resolver, Setup},
        meter::Meter,
        supervisor::{self, Supervisor, SupervisorError},
    },
    runtime::{Death, Tasks},
};

/// Where DevTools listens inside every container.
pub(super) const DEVTOOLS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9222);

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
    pub(super) devtools: Arc<DevTools>,
    pub(super) meter: Arc<Meter>,
    pub(super) supervisor: Supervisor,
    egress: Egress,
    /// Guarded by a plain lock; held for the whole of a binding, which a detach and the sight of a
    /// death therefore come before or after, never into.
    pub(super) hold: Mutex<Hold>,
    tasks: Tasks,
    /// Turns true when the container's init dies.
    dead: watch::Receiver<bool>,
}

/// Who holds an attachment.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Set once.
    pub(super) session: Option<SessionId>,
    /// It is being detached: nobody is bound to it any more.
    pub(super) leaving: bool,
}

/// What every attachment shares.
#[derive(Debug, Clone)]
pub(super) struct Outside {
    pub(super) devtools: SocketAddr,
    /// Of a device, instead.
    pub(super) on_device: Option<Device>,
    pub(super) policy: watch::Receiver<Arc<Policy>>,
    pub(super) fence: watch::Receiver<bool>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) top_hosts: watch::Receiver<usize>,
    /// How long a browser may be silent.
    pub(super) patience: watch::Receiver<Duration>,
}

/// Why an instance could not be attached.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttachFailed {
    #[error("no sockets were sent for it")]
    NoSockets,
    #[error("it is being detached")]
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
        let devtools = Arc::new(match &outside.on_device {
            Some(device) => DevTools::on_device(device, staged.dial, &tasks),
            None => DevTools::direct(outside.devtools, staged.dial),
        });
        let meter = Arc::new(Meter::create(&meter_file, instance)?);
        let mut dead = watch_death(staged.pidfd, &tasks)?;
        let phone = supervisor::start(
            Arc::clone(&devtools),
            Arc::new(profile),
            outside.patience,
            &tasks,
        );
        let supervisor = tokio::select! {
            phone = phone => phone?,
            _ = dead.wait_for(|dead| *dead) => return Err(AttachFailed::Died),
        };
        let setup = Setup {
            instance,
            meter: Arc::clone(&meter),
            gate: supervisor.gate(),
            fence: outside.fence,
            policy: outside.policy,
            resolver: outside.resolver,
            top_hosts: outside.top_hosts,
        };
        let egress = Egress::start(staged.egress, setup, &tasks)?;
        info!(%instance, browser = supervisor.browser().product, "attached");
        Ok(Self {
            instance,
            devtools,
            meter,
            supervisor,
            egress,
            hold: Mutex::default(),
            tasks,
            dead,
        })
    }

    /// Lets the browser's connections out.
    pub(super) fn open_way(&self, way: Way) {
        self.egress.set_way(Some(way));
    }

    /// A duplicate of its egress listener, for as long as it has one.
    ///
    /// # Errors
    /// Once it is cut, or without a descriptor to be had.
    pub(super) fn egress_listener(&self) -> io::Result<OwnedFd> {
        self.egress.listener()
    }

    /// Cuts all traffic; when this returns the counters are final.
    pub(super) async fn cut(&self) {
        self.egress.cut().await;
        self.meter.seal();
    }

    /// Returns once its session has had all the bytes that it may have.
    pub(super) async fn spent(&self) {
        let mut spent = self.egress.spent();
        // The sender only goes with the attachment itself.
        if spent.wait_for(|spent| *spent).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether a session can still be bound to it.
    pub(super) fn takes(&self, hold: &Hold) -> bool {
        !hold.leaving && !*self.dead.borrow()
    }

    /// Returns once the container's init is dead.
    pub(super) async fn died(&self) {
        let mut dead = self.dead.clone();
        // The sender only goes with the attachment's own tasks: then there is nothing to wait for.
        if dead.wait_for(|dead| *dead).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns once the browser is of no use any more: what was seen.
    pub(super) async fn lost(&self) -> String {
        tokio::select! {
            () = self.died() => "the browser's container died".to_owned(),
            silent = self.supervisor.stopped() => format!(
                "the browser has not answered for {} s",
                silent.as_secs()
            ),
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
        let stuck = self.tasks.drain(Duration::from_secs(5)).await;
        if let Err(stuck) = stuck {
            tracing::warn!(instance = %self.instance, error = %stuck, "an attachment closes slowly");
        }
    }

    /// Connections that its route's upstream has made for its pages.
    pub(super) fn reached(&self) -> u64 {
        self.egress.reached()
    }

    /// The hosts with the most bytes, and all others together; empty where they are not counted.
    pub(super) fn top_hosts(&self) -> Vec<HostTraffic> {
        self.egress.top_hosts()
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
