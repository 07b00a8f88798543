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
    config::Config,
    node::{self, NodeRole, StartFailed},
    service::Ends,
    watchdog,
};
use crate::{
    api::admin,
    control::Node,
    model::{Class, Classify},
    node::NodeState,
    profile::{Catalogue, InvalidCatalogue},
    runtime::{Tasks, systemd::notify},
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
            Self::Node(error) => error.class(),
            Self::Admin(error) => error.class(),
        }
    }
}

/// Runs until SIGTERM or ctrl-C.
///
/// # Errors
/// [`AgentFailed`] when it cannot start.
pub async fn run(config: Config) -> Result<(), AgentFailed> {
    let mut end = Ends::new().map_err(AgentFailed::Signals)?;
    let profiles = Catalogue::load(&config.profile)?;
    let tasks = Tasks::default();
    let starting = node::begin(&config, profiles, &tasks).await?;
    // After the lock of the state directory: of two agents the second is refused for that.
    let listener = listen("admin.node_listen", config.admin.node_listen).await?;
    let client = Node::new(config.node_socket()).map_err(ApiFailed::from)?;
    admin::serve(listener, (client, None), &tasks);
    let served = tokio::select! {
        never = serve(starting, &tasks) => never.map(|never| match never {}),
        () = end.asked() => Ok(()),
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
    starting: node::Starting,
    tasks: &Tasks,
) -> Result<std::convert::Infallible, AgentFailed> {
    let NodeRole { node, .. } = starting.finish(tasks).await?;
    watchdog::start(&node, tasks);
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
        state = node.state_after(&state).await;
    }
}
