//! What a node does without being asked: fold the meters, tell those that move, listen to Docker, forget, sweep.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use futures::StreamExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Node, orphans, restart};
use crate::{
    docker::Happening,
    instance::{INSTANCE_LABEL, View, strays},
    model::{Blame, Failure, InstanceId},
    runtime::wall_now,
    session::{Cause, Moved},
};

const FOLD: Duration = Duration::from_secs(1);
/// Between two looks at the meters while somebody watches: one that comes late is still within a second of
/// the last.
const TELL: Duration = Duration::from_millis(500);
/// Docker is asked no more often than this, and at once where it was listened to for longer: orders
/// must not be taken for a Docker that has just gone.
const RELISTEN: Duration = Duration::from_secs(1);
/// Rows forgotten in one sweep.
const ROWS: u32 = 1_000;

/// Folds the meters into the journal each second.
pub(super) async fn fold(node: Node, stop: CancellationToken) {
    let mut last = HashMap::new();
    let mut tick = tokio::time::interval(FOLD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = node.sessions().fold(&mut last).await {
            warn!(%error, "the meters could not be folded into the journal");
        }
        node.inner.wheels.meters.turn();
    }
}

/// Tells watchers of the meters as they move; rests while there are none.
pub(super) async fn tell(node: Node, stop: CancellationToken) {
    let meters = node.hub().meters();
    let round = async {
        loop {
            meters.wanted().await;
            let (at, sessions) = (wall_now(), node.sessions().meters());
            meters.tell(Moved { at, sessions });
            tokio::time::sleep(TELL).await;
        }
    };
    stop.run_until_cancelled(round).await;
}

/// Forgets old endings and removes containers that nobody knows.
pub(super) async fn sweep(node: Node, stop: CancellationToken) {
    let mut suspects = orphans::Suspects::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(orphans::every(node.orphan_grace())) => {}
            () = stop.cancelled() => return,
        }
        let before = wall_now() - node.retention();
        match node.journal().prune(before, ROWS).await {
            Ok(0) => {}
            Ok(forgotten) => info!(forgotten, "ended sessions forgotten"),
            Err(error) => warn!(%error, "old sessions could not be forgotten"),
        }
        orphans::pass(&node, &mut suspects).await;
    }
}

/// Docker's own news of deaths: the second witness, should the relay have missed one.
pub(super) async fn listen(node: Node, stop: CancellationToken) {
    loop {
        let again = Instant::now() + RELISTEN;
        tokio::select! {
            () = hear(&node) => {}
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep_until(again) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn hear(node: &Node) {
    let docker = node.instances().tools().docker.clone();
    let mut events = docker.events(&node.label());
    // Whatever died while nobody listened.
    match docker.list(&node.label()).await {
        Ok(containers) => {
            node.inner.ear.record(Ok(()));
            node.condition(|conditions| conditions.docker_down = None);
            let stopped = containers.iter().filter(|container| !container.running);
            let stopped: Vec<_> = stopped.filter_map(restart::instance_of).collect();
            // Docker may be wrong about what it was starting when it was killed.
            let running = if stopped.is_empty() {
                BTreeSet::new()
            } else {
                strays::look(node.instances().tools().node).await
            };
            for id in stopped {
                if !running.contains(&id) {
                    died(node, id, "its container does not run any more".to_owned()).await;
                }
            }
        }
        Err(error) => {
            node.inner.ear.record(Err(error.to_string()));
            node.condition(|conditions| conditions.docker_down = Some(error.to_string()));
            return;
        }
    }
    while let Some(Ok(event)) = events.next().await {
        let Some(id) = event.attributes.get(INSTANCE_LABEL) else {
            continue;
        };
        let Ok(id) = id.parse::<InstanceId>() else {
            continue;
        };
        match event.what {
            Happening::Died { exit_code } => {
                let code = exit_code.map_or_else(|| "?".to_owned(), |code| code.to_string());
                died(node, id, format!("its container exited with {code}")).await;
            }
            Happening::OutOfMemory => {
                warn!(instance = %id, "the kernel killed something in it for memory");
            }
        }
    }
}

async fn died(node: &Node, id: InstanceId, cause: String) {
    let Some(instance) = node.instances().get(id) else {
        return;
    };
    let session = node.sessions().on(id);
    if !matches!(
        (instance.view(), &session),
        (View::Bound(_), Some(_)) | (View::Parked(_), None)
    ) {
        return;
    }
    let found = node.instances().autopsy(id).await;
    let cause = found.map_or(
        Cause {
            saw: cause,
            blame: Blame::Substrate,
            told: false,
        },
        Cause::found,
    );
    match session {
        Some(session) => session.substrate_down(cause).await,
        None => {
            let failure = Failure {
                code: "browser_exited".to_owned(),
                message: cause.saw,
                blame: cause.blame,
            };
            instance.destroy(Some(failure)).await;
        }
    }
}
