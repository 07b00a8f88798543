//! `chaser node`: the agent alone, for a control plane elsewhere.
//!
//! ```text
//!   lock, sockets (STARTING) ─▶ journal, Docker, relay ─▶ compare ─▶ ready ─▶ serve
//!   SIGTERM, ctrl-C: stop serving ─▶ exit 0; no session is touched
//! ```
//!
//! The relay and every session live on, and the next agent finds them: a restart, a crash and an
//! upgrade are the same path. Ending sessions is `chaser node drain`.

use std::{io, time::Duration};

use sd_notify::NotifyState;
use tracing::{info, warn};

use super::{
    api::{ApiFailed, listen},
    certificates::{Certificates, reloading},
    config::{Config, Sources},
    node::{self, NodeRole, StartFailed},
    service::{Ask, Ends},
    watchdog,
};
use crate::{
    api::admin,
    control::Node,
    model::{Class, Classify},
    node::NodeState,
    profile::{Catalogue, InvalidCatalogue},
    runtime::{DescriptorStore, Tasks, systemd::notify},
    tls::TlsError,
};

const TASKS_LIMIT: Duration = Duration::from_secs(5);

/// Why the agent ended before it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentFailed {
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
    Node(#[from] StartFailed),
    /// Its probes and metrics.
    #[error(transparent)]
    Admin(#[from] ApiFailed),
}

impl Classify for AgentFailed {
    fn class(&self) -> Class {
        match self {
            Self::Signals(_) => Class::Internal,
            Self::Profiles(error) => error.class(),
            Self::Tls(error) => error.class(),
            Self::Node(error) => error.class(),
            Self::Admin(error) => error.class(),
        }
    }
}

/// Runs until SIGTERM or ctrl-C; SIGHUP reads certificates and names of `sources` again. What must outlive
/// it together with the relay is in `kept`.
///
/// # Errors
/// [`AgentFailed`] when it cannot start.
pub async fn run(
    config: Config,
    sources: &Sources,
    kept: DescriptorStore,
) -> Result<(), AgentFailed> {
    let mut end = Ends::new().map_err(AgentFailed::Signals)?;
    let profiles = Catalogue::load(&config.profile)?;
    let tasks = Tasks::default();
    let certificates = Certificates::load(&config.tls)?;
    let starting = node::begin(&config, profiles, &certificates, &tasks).await?;
    let starting = starting.keeping(kept);
    // After the lock of the state directory: of two agents the second is refused for that.
    let listener = listen("admin.node_listen", config.admin.node_listen).await?;
    let client = Node::new(config.node_socket()).map_err(ApiFailed::from)?;
    admin::serve(listener, (client, None), certificates.shown(), &tasks);
    let started = tokio::select! {
        started = starting.finish(&tasks) => started.map(Some),
        () = end.asked() => Ok(None),
    };
    let served = match started {
        Ok(Some(role)) => {
            watchdog::start(&role.node, &tasks);
            serve(&role, (&certificates, sources), &mut end).await;
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error.into()),
    };
    if served.is_ok() {
        info!("stopping: sessions and relay live on");
    }
    notify(&[NotifyState::Stopping]);
    if let Err(stuck) = tasks.drain(TASKS_LIMIT).await {
        warn!(%stuck, "tasks were dropped");
    }
    served
}

async fn serve(
    role: &NodeRole,
    (certificates, sources): (&Certificates, &Sources),
    end: &mut Ends,
) {
    let node = &role.node;
    let (mut state, mut announced) = (node.state(), false);
    loop {
        let told = match &state {
            NodeState::Starting => "starting",
            NodeState::Ready => "ready",
            NodeState::NotReady(why) => why,
        };
        notify(&[NotifyState::Status(told)]);
        // A node that is cordoned is as started as one in service.
        if state != NodeState::Starting && !announced {
            notify(&[NotifyState::Ready]);
            announced = true;
        }
        tokio::select! {
            next = node.state_after(&state) => state = next,
            ask = end.next() => match ask {
                Ask::End => return,
                Ask::Reload => {
                    let reload = certificates.reload_for_node(role, sources);
                    reloading(told, reload).await;
                }
            },
        }
    }
}
