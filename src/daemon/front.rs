//! `chaser api`: the session API alone, in front of a node that somebody else runs.
//!
//! ```text
//!   bind ports ─▶ records, keys ─▶ serve ─▶ ready: systemd
//!   SIGTERM, ctrl-C: listeners ─▶ records settled ─▶ exit 0; no session is touched
//! ```
//!
//! A node that is away is no reason not to serve: what is asked of it is answered 503 meanwhile, and
//! `/readyz` says why.

use std::{io, os::unix::fs::DirBuilderExt, path::PathBuf, time::Duration};

use sd_notify::NotifyState;
use tracing::{debug, info, warn};

use super::{
    api::{self, ApiFailed, Listeners},
    certificates::{Certificates, reloading},
    config::{Config, Sources},
    service::{Ask, Ends},
};
use crate::{
    control::follow,
    model::{Class, Classify},
    profile::{Catalogue, InvalidCatalogue},
    runtime::{Tasks, systemd::notify},
    tls::TlsError,
};

/// What is being answered when the listeners stop.
const LISTENERS_LIMIT: Duration = Duration::from_secs(3);
const SETTLE_LIMIT: Duration = Duration::from_secs(2);
const TASKS_LIMIT: Duration = Duration::from_secs(3);

/// Why the API ended before it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrontFailed {
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
    /// The API.
    #[error(transparent)]
    Api(#[from] ApiFailed),
}

impl Classify for FrontFailed {
    fn class(&self) -> Class {
        match self {
            Self::StateDir { .. } => Class::Invalid,
            Self::Signals(_) => Class::Internal,
            Self::Profiles(error) => error.class(),
            Self::Tls(error) => error.class(),
            Self::Api(error) => error.class(),
        }
    }
}

/// Runs until SIGTERM or ctrl-C; SIGHUP reads certificates of `sources` again.
///
/// # Errors
/// [`FrontFailed`] when it cannot start.
pub async fn run(config: Config, sources: &Sources) -> Result<(), FrontFailed> {
    let mut end = Ends::new().map_err(FrontFailed::Signals)?;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.state_dir);
    made.map_err(|source| FrontFailed::StateDir {
        path: config.state_dir.clone(),
        source,
    })?;
    let listeners = Listeners::bind(&config).await?;
    let address = listeners.api.local_addr().unwrap_or(config.api.listen);
    let certificates = Certificates::load(&config.tls)?;
    let profiles = Catalogue::load(&config.profile)?;
    let (front, tasks) = (Tasks::default(), Tasks::default());
    let started = tokio::select! {
        started = api::start(
            (&config, &certificates),
            listeners,
            (&profiles, Vec::new()),
            &front,
            &tasks,
        ) => started?,
        () = end.asked() => return Ok(()),
    };
    let status = format!("serving the session API on {address}");
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    info!(api = %address, "ready");
    while end.next().await == Ask::Reload {
        reloading(&status, async { certificates.reload_from(sources) }).await;
    }
    notify(&[NotifyState::Stopping]);
    info!("stopping: sessions live on");
    if let Err(stuck) = front.drain(LISTENERS_LIMIT).await {
        debug!(%stuck, "connections were cut");
    }
    if !matches!(
        tokio::time::timeout(SETTLE_LIMIT, follow::settle(&started.control)).await,
        Ok(Ok(()))
    ) {
        warn!("records are settled by the next start");
    }
    if let Err(stuck) = tasks.drain(TASKS_LIMIT).await {
        debug!(%stuck, "tasks were dropped");
    }
    Ok(())
}
