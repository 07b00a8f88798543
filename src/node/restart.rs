//! Carrying out what [`reconcile`] decides about everything that an earlier agent left.
//!
//! The relay and Docker are asked once; every session and instance of the journal is then compared
//! with their answers, side by side.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use tracing::{info, warn};

use super::{
    Node,
    reconcile::{self, AtRelay, Journalled, Verdict},
};
use crate::{
    docker::Container,
    instance::{INSTANCE_LABEL, Instance, InstanceError, Phone, StartError},
    journal::{InstanceRow, Recovered, SessionRow},
    model::{EndReason, InstanceId, InstancePhase, Phase},
    relay::client::{Inventory, RelayError},
    runtime::boot_now,
    session::{self, Session},
};

const AT_ONCE: usize = 16;
const REATTACH_TRIES: u32 = 3;
const REATTACH_PAUSE: Duration = Duration::from_millis(200);

/// Everything that was asked once.
struct Seen {
    relay: Inventory,
    running: HashSet<InstanceId>,
    rows: HashMap<InstanceId, InstanceRow>,
}

/// Works through the journal; returns when every session is adopted, ending or ended.
pub(super) async fn run(node: &Node, known: Recovered) {
    let tools = node.instances().tools().clone();
    let relay = tools.relay.list().await.unwrap_or_else(|error| {
        warn!(%error, "the relay cannot be asked what it holds");
        Inventory::default()
    });
    let containers = tools
        .docker
        .list(&node.label())
        .await
        .unwrap_or_else(|error| {
            warn!(%error, "Docker cannot be asked what runs");
            Vec::new()
        });
    let running = containers.iter().filter(|container| container.running);
    let seen = Arc::new(Seen {
        relay,
        running: running.filter_map(instance_of).collect(),
        rows: known
            .instances
            .iter()
            .map(|row| (row.id, row.clone()))
            .collect(),
    });
    let claimed: HashSet<_> = known.sessions.iter().map(|row| row.instance).collect();
    info!(
        sessions = known.sessions.len(),
        instances = known.instances.len(),
        containers = containers.len(),
        attached = seen.relay.held.len(),
        "comparing the journal with the host"
    );
    stream::iter(known.sessions)
        .for_each_concurrent(AT_ONCE, |row| settle(node, row, &seen))
        .await;
    for row in known.instances {
        if !claimed.contains(&row.id) {
            destroy(node, row);
        }
    }
    for lease in known.leases {
        let held = node.instances().get(lease.instance).is_some();
        if lease.released.is_none() && !held {
            let released = tools.routes.release(lease.instance).await;
            if let Err(error) = released {
                warn!(instance = %lease.instance, %error, "an address could not be given back");
            }
        }
    }
    for held in &seen.relay.held {
        if node.instances().get(held.instance).is_none() {
            info!(instance = %held.instance, "the relay holds what nobody knows: detached");
            if let Err(error) = tools.relay.detach(held.instance).await {
                warn!(instance = %held.instance, %error, "not detached");
            }
        }
    }
}

async fn settle(node: &Node, row: SessionRow, seen: &Seen) {
    let runs = seen.running.contains(&row.instance);
    let verdict = reconcile::decide(journalled(&row), runs, at_relay(&row, &seen.relay));
    info!(session = %row.id, ?verdict, "reconcile");
    let instance = row.instance;
    match verdict {
        Verdict::Adopt => drop(adopt(node, row, seen).await),
        Verdict::Reattach => {
            if let Some((instance, session)) = adopt(node, row, seen).await {
                restore(instance, session).await;
            }
        }
        Verdict::TakeEnding(ending) => {
            node.sessions().resume(row).cut(ending).await;
            forget(node, instance, seen);
        }
        Verdict::AskAgain(reason) | Verdict::EndAs(reason) => {
            let cause = if reason == EndReason::SubstrateDown {
                "its container was gone when the agent started"
            } else {
                "found after a restart of the agent"
            };
            let session = node.sessions().resume(row);
            drop(session.end(reason, Some(cause.to_owned())).await);
            forget(node, instance, seen);
        }
        Verdict::DestroyOnly => forget(node, instance, seen),
    }
}

fn journalled(row: &SessionRow) -> Journalled {
    match row.phase {
        Phase::Creating => Journalled::Creating,
        Phase::Ready => {
            let now = boot_now().ok();
            let left = now.and_then(|now| row.deadline.until(now));
            Journalled::Ready {
                past_deadline: left.is_none_or(|left| left.is_zero()),
            }
        }
        Phase::Closing => Journalled::Closing(row.asked.unwrap_or(EndReason::SubstrateDown)),
        Phase::Ended => Journalled::Ended,
    }
}

fn at_relay(row: &SessionRow, relay: &Inventory) -> AtRelay {
    let ended = relay.ended.iter().find(|ended| ended.session == row.id);
    let holds = || {
        let mut held = relay.held.iter();
        held.any(|held| held.session.as_ref() == Some(&row.id))
    };
    match ended {
        Some(ended) => AtRelay::Ended(ended.ending.clone()),
        None if holds() => AtRelay::Holds,
        None => AtRelay::Lost,
    }
}

/// Takes over session and instance as they are; a container that is another one by now ends it.
async fn adopt(node: &Node, row: SessionRow, seen: &Seen) -> Option<(Instance, Session)> {
    let phone = Phone {
        device: row.device.clone().unwrap_or_default(),
        version: row.browser_version.clone().unwrap_or_default(),
    };
    let adopted = match seen.rows.get(&row.instance) {
        Some(instance) => {
            let bound = InstanceRow {
                phase: InstancePhase::Bound,
                ..instance.clone()
            };
            let claim = Some(session::claim(&row));
            node.instances().adopt(bound, phone, claim).await
        }
        None => Err(StartError::Replaced),
    };
    let id = row.instance;
    let session = node.sessions().resume(row);
    match adopted {
        Ok(instance) => Some((instance, session)),
        Err(error) => {
            let cause = Some(error.to_string());
            drop(session.end(EndReason::SubstrateDown, cause).await);
            forget(node, id, seen);
            None
        }
    }
}

/// Hands an instance to a relay that lost it; a session that cannot be carried on ends. Where it is
/// the relay that is away, the next one is given the instance.
pub(super) async fn restore(instance: Instance, session: Session) {
    let mut cause = String::new();
    for _ in 0..REATTACH_TRIES {
        match instance.reattach().await {
            Ok(()) => return,
            Err(InstanceError::Relay(error)) if is_away(&error) => return,
            Err(error) => cause = error.to_string(),
        }
        tokio::time::sleep(REATTACH_PAUSE).await;
    }
    let detail = format!("the relay could not be given the browser again: {cause}");
    session.end_soon(EndReason::SubstrateDown, detail).await;
}

/// Whether nobody was there to answer, by either road.
fn is_away(error: &RelayError) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    if let RelayError::Sockets(error) = error {
        matches!(
            error.kind(),
            ConnectionRefused | ConnectionReset | NotFound | UnexpectedEof
        )
    } else {
        matches!(error, RelayError::Unreachable(_))
    }
}

/// What is left of an instance goes; only once the bytes of its session are final, because the
/// counters file goes with it.
fn forget(node: &Node, instance: InstanceId, seen: &Seen) {
    if let Some(row) = seen.rows.get(&instance) {
        destroy(node, row.clone());
    }
}

fn destroy(node: &Node, row: InstanceRow) {
    if node.instances().get(row.id).is_none() {
        drop(node.instances().drive(InstanceRow {
            phase: InstancePhase::Destroying,
            ..row
        }));
    }
}

/// The instance that a container of ours is.
pub(super) fn instance_of(container: &Container) -> Option<InstanceId> {
    container.labels.get(INSTANCE_LABEL)?.parse().ok()
}
