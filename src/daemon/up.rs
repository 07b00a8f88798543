//! `chaser up`: node and API in one process, the relay its only child.
//!
//! ```text
//!   bind ports ─▶ node ─▶ API ─▶ ready: systemd, self-check, banner ─▶ serve
//!   SIGTERM, ctrl-C: listeners ─▶ sessions ended ─▶ relay ─▶ records settled ─▶ exit 0
//! ```
//!
//! A process that is killed instead leaves relay and sessions running; the next start finds them.

use std::{
    io::{self, IsTerminal},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    time::Duration,
};

use sd_notify::NotifyState;
use tracing::{debug, info, warn};

use super::{
    api::{self, ApiFailed, ApiRole, Listeners, reachable},
    banner::Banner,
    certificates::{Certificates, reloading},
    config::{Config, Sources},
    node::{self, NodeRole},
    self_check::{self, CheckFailed, Subject},
    service::{Ask, Ends},
    watchdog,
};
use crate::{
    control::{ApiKey, Workspace, follow},
    model::{Class, Classify},
    profile::{Catalogue, InvalidCatalogue},
    runtime::{
        Tasks,
        systemd::{extend_timeout, notify},
    },
    tls::TlsError,
    wire::node as pb,
};

/// What is being answered when the listeners stop.
const LISTENERS_LIMIT: Duration = Duration::from_secs(3);
/// Ending every session and taking its container down.
const SESSIONS_LIMIT: Duration = Duration::from_secs(20);
const SETTLE_LIMIT: Duration = Duration::from_secs(2);
const TASKS_LIMIT: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(100);

/// What is not configuration.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Run one session end to end once ready.
    pub self_check: bool,
    /// Print nothing on stdout.
    pub quiet: bool,
    /// Whose death is the same as SIGTERM: whoever started us.
    pub parent: Option<u32>,
}

/// Why `up` ended before it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpFailed {
    /// The state directory.
    #[error("the state directory {} cannot be used", path.display())]
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    /// The device profiles.
    #[error(transparent)]
    Profiles(#[from] InvalidCatalogue),
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The node.
    #[error(transparent)]
    Node(#[from] node::StartFailed),
    /// The API.
    #[error(transparent)]
    Api(#[from] ApiFailed),
    /// The self-check.
    #[error(transparent)]
    Check(#[from] CheckFailed),
}

impl Classify for UpFailed {
    fn class(&self) -> Class {
        match self {
            Self::StateDir { .. } => Class::Invalid,
            Self::Signals(_) | Self::Check(_) => Class::Internal,
            Self::Profiles(error) => error.class(),
            Self::Tls(error) => error.class(),
            Self::Node(error) => error.class(),
            Self::Api(error) => error.class(),
        }
    }
}

/// Everything that runs.
struct Up {
    config: Config,
    certificates: Certificates,
    addresses: Addresses,
    node: NodeRole,
    api: ApiRole,
    /// A key of this process alone, in a workspace of its own, for the self-check.
    own_key: ApiKey,
    front: Tasks,
    tasks: Tasks,
}

struct Addresses {
    api: std::net::SocketAddr,
    admin: std::net::SocketAddr,
}

/// Runs until SIGTERM or ctrl-C; SIGHUP reads certificates and names of `sources` again.
///
/// # Errors
/// [`UpFailed`] when it cannot start or the self-check fails.
pub async fn run(config: Config, sources: &Sources, options: Options) -> Result<(), UpFailed> {
    let mut end = Ends::with_parent(options.parent).map_err(UpFailed::Signals)?;
    let up = Box::pin(start(config)).await?;
    let served = {
        let serving = up.serve(options);
        tokio::pin!(serving);
        loop {
            tokio::select! {
                served = &mut serving => break served,
                ask = end.next() => match ask {
                    Ask::End => break Ok(()),
                    Ask::Reload => {
                        let reload = up.certificates.reload_for_node(&up.node, sources);
                        reloading("ready", reload).await;
                    }
                },
            }
        }
    };
    if served.is_ok() {
        up.wind_down(&mut end).await;
        info!("stopping: sessions end, then the relay");
    }
    up.stop().await;
    served
}

async fn start(config: Config) -> Result<Up, UpFailed> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.state_dir);
    made.map_err(|source| UpFailed::StateDir {
        path: config.state_dir.clone(),
        source,
    })?;
    // Ports first: one that is taken is found before a container or a relay exists.
    let listeners = Listeners::bind(&config).await?;
    let addresses = Addresses {
        api: listeners.api.local_addr().unwrap_or(config.api.listen),
        admin: listeners.admin.local_addr().unwrap_or(config.admin.listen),
    };
    let profiles = Catalogue::load(&config.profile)?;
    let certificates = Certificates::load(&config.tls)?;
    let tasks = Tasks::default();
    let front = Tasks::default();
    let starting = node::begin(&config, profiles.clone(), &certificates, &tasks).await?;
    let own_key = ApiKey::random();
    let own = vec![(own_key.clone(), Workspace::of_the_self_check())];
    let (node, api) = {
        let node = starting.finish(&tasks);
        let api = api::start(
            (&config, &certificates),
            listeners,
            (&profiles, own),
            &front,
            &tasks,
        );
        // Side by side: probes are answered while the node still starts.
        tokio::pin!(node, api);
        tokio::select! {
            started = &mut node => (started?, api.await),
            started = &mut api => (node.await?, started),
        }
    };
    let api = match api {
        Ok(api) => api,
        Err(error) => {
            // A node that nobody can ask must not stay behind.
            stop_node(&node).await;
            return Err(error.into());
        }
    };
    watchdog::start(&node.node, &tasks);
    Ok(Up {
        config,
        certificates,
        addresses,
        node,
        api,
        own_key,
        front,
        tasks,
    })
}

impl Up {
    /// Announces readiness, checks, prints, and then only waits.
    async fn serve(&self, options: Options) -> Result<(), UpFailed> {
        let cdp = self.ready().await;
        let listen: std::net::SocketAddr = cdp.parse().unwrap_or(self.config.cdp.listen);
        let cdp = reachable(listen);
        notify(&[NotifyState::Ready, NotifyState::Status("ready")]);
        info!(api = %self.addresses.api, cdp = %cdp, admin = %self.addresses.admin, "ready");
        let checked = if options.self_check {
            let subject = Subject {
                api: reachable(self.addresses.api),
                cdp,
                key: &self.own_key,
                identity: self.certificates.shown().borrow().clone(),
                node: &self.node,
            };
            self_check::run(&subject, &self.tasks).await?.lines()
        } else {
            String::new()
        };
        // A log file is no place for a key: only people and those who asked get one.
        let wanted = options.self_check || io::stdout().is_terminal();
        if wanted && !options.quiet {
            let banner = Banner {
                encrypted: self.config.tls.is_on(),
                api: reachable(self.addresses.api),
                cdp,
                admin: reachable(self.addresses.admin),
                key: self.api.operator.as_ref(),
            };
            banner.print(&checked);
        }
        std::future::pending().await
    }

    /// Waits until the node takes orders; answers where its gateway listens.
    async fn ready(&self) -> String {
        let mut told = String::new();
        loop {
            match self.api.control.node().status().await {
                Ok(status) if status.state() == pb::NodeState::Ready => return status.cdp_address,
                Ok(status) => {
                    if status.state_reason != told {
                        info!(reason = status.state_reason, "the node is not ready yet");
                        told = status.state_reason;
                    }
                }
                Err(error) => debug!(%error, "the node does not answer yet"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Gives sessions the configured time to end by themselves; a second signal takes the rest of it.
    async fn wind_down(&self, end: &mut Ends) {
        let limit = self.config.node.drain_deadline;
        if limit.is_zero() {
            return;
        }
        let shown = humantime::format_duration(limit);
        info!("draining: sessions have {shown} to end; a second signal ends them at once");
        notify(&[NotifyState::Status("draining")]);
        extend_timeout(limit + SESSIONS_LIMIT);
        tokio::select! {
            () = self.node.node.drain_and_wait(limit) => {}
            () = end.asked() => {}
        }
    }

    /// Takes everything down in reverse; state and records stay.
    async fn stop(self) {
        notify(&[NotifyState::Stopping]);
        if let Err(stuck) = self.front.drain(LISTENERS_LIMIT).await {
            debug!(%stuck, "connections were cut");
        }
        stop_node(&self.node).await;
        let settled = follow::settle(&self.api.control);
        match tokio::time::timeout(SETTLE_LIMIT, settled).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "records are settled by the next start"),
            Err(_elapsed) => warn!("records are settled by the next start"),
        }
        if let Err(stuck) = self.tasks.drain(TASKS_LIMIT).await {
            debug!(%stuck, "tasks were dropped");
        }
        let socket = self.config.node_socket();
        if let Err(error) = std::fs::remove_file(&socket) {
            debug!(%error, socket = %socket.display(), "not removed");
        }
    }
}

async fn stop_node(node: &NodeRole) {
    if let Err(error) = node.stop(SESSIONS_LIMIT).await {
        warn!(%error, "the relay could not be stopped");
    }
}
