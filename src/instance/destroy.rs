//! The one way down, by data: it serves failure, close, restart and shutdown.
//!
//! Idempotent, absence is success, errors are collected and the whole is repeated until there are
//! none: a container that Docker cannot remove now is removed later, not forgotten.

use std::{fmt, fs, io, time::Duration};

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{INSTANCE_LABEL, InstanceError, Tools, container_name, strays};
use crate::{docker::DockerError, journal::InstanceRow, model::InstanceId, runtime::failpoint};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A container that cannot be removed holds up others for so long, and no longer.
const TURN: Duration = Duration::from_secs(3);

/// How long a killed container may take to die.
const DEATH: Duration = Duration::from_secs(20);
const DEATH_LOOK: Duration = Duration::from_millis(50);

/// What one pass could not do.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: Vec<String>,
}

impl Report {
    fn note<E: fmt::Display>(&mut self, what: &str, outcome: Result<(), E>) {
        if let Err(error) = outcome {
            self.errors.push(format!("{what}: {error}"));
        }
    }

    const fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }
}

/// Kills the container of `id` and returns once its init is dead; absence is death.
pub(super) async fn kill(tools: &Tools, id: InstanceId) -> Result<(), InstanceError> {
    let name = container_name(id);
    tools.docker.kill(&name).await?;
    let until = Instant::now() + DEATH;
    loop {
        let seen = tools.docker.inspect(&name).await?;
        let runs = seen.is_some_and(|container| container.running)
            || strays::end(tools.node, id, None).await?;
        if !runs {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(InstanceError::Undead);
        }
        tokio::time::sleep(DEATH_LOOK).await;
    }
}

/// Takes back everything that was ever made for the instance of `row`; returns false when it was stopped before
/// everything was gone.
pub(super) async fn until_gone(tools: &Tools, row: &InstanceRow, stop: &CancellationToken) -> bool {
    let id = row.id;
    let pid = row.container.as_ref().map(|container| container.pid);
    let mut pause = FIRST_PAUSE;
    loop {
        let report = once(tools, id, pid).await;
        if report.is_clean() {
            return true;
        }
        if pause < Duration::from_secs(1) {
            debug!(instance = %id, errors = ?report.errors, "not gone yet");
        } else {
            warn!(instance = %id, errors = ?report.errors, "the instance cannot be removed yet");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return false,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn once(tools: &Tools, id: InstanceId, pid: Option<u32>) -> Report {
    let mut report = Report::default();
    // Both at once: the relay lets go of the namespace while Docker takes the container down, though
    // not of more than a few: orders that come meanwhile want the host too.
    let taken_down = async {
        let _turn = timeout(TURN, tools.removals.acquire()).await;
        remove(tools, id).await
    };
    let (detached, removed) = tokio::join!(tools.relay.detach(id), taken_down);
    report.note("relay", detached);
    let docker_is_done = removed.is_ok();
    report.note("container", removed);
    if docker_is_done {
        report.note("processes", nothing_runs(tools, id, pid).await);
    }
    failpoint(format_args!("destroy removed"));
    if report.is_clean() {
        for file in [tools.paths.meter(id), tools.paths.instance(id)] {
            report.note("file", remove_file(&file));
        }
    }
    failpoint(format_args!("destroy tidied"));
    report.note("address", tools.routes.release(id).await);
    failpoint(format_args!("destroy released"));
    report
}

/// By name, which costs one call; and where there is none of the name, by the label that nobody can
/// change: somebody may have renamed it.
async fn remove(tools: &Tools, id: InstanceId) -> Result<(), DockerError> {
    if tools.docker.remove(&container_name(id)).await? {
        return Ok(());
    }
    let label = format!("{INSTANCE_LABEL}={id}");
    for container in tools.docker.list(&label).await? {
        tools.docker.remove(&container.id).await?;
    }
    Ok(())
}

/// Docker says that it is gone; the kernel knows.
async fn nothing_runs(tools: &Tools, id: InstanceId, pid: Option<u32>) -> io::Result<()> {
    if strays::end(tools.node, id, pid).await? {
        return Err(io::Error::other("they ran on without Docker: killed"));
    }
    Ok(())
}

fn remove_file(path: &std::path::Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
