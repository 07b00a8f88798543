//! Carrying out what [`reconcile`] decides about everything that an earlier agent left.
//!
//! The relay and Docker are asked once; every session and instance of the journal is then compared
//! with their answers, side by side. Nothing is decided about containers before Docker has answered:
//! an engine that is away for a moment must not look like one that lost everything. What ends is
//! ended beside, because a container that takes its time to die is no reason to refuse orders.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use tracing::{info, warn};

use super::{
    Node, closing, link, pool, rebuild,
    reconcile::{self, AtDocker, AtRelay, Deadline, Journalled, Verdict, When},
};
use crate::{
    docker::Container,
    instance::{INSTANCE_LABEL, Instance, InstanceError, Phone, StartError, container_name},
    journal::{InstanceRow, Recovered, SessionRow},
    model::{EndReason, InstanceId, InstancePhase, Phase},
    relay::client::{Inventory, RelayError},
    runtime::{Tasks, boot_now},
    session::{self, Session},
};

/// Comparisons at once.
const AT_ONCE: usize = 16;
const ASK_TRIES: u32 = 3;
const REATTACH_TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Everything that was asked once.
struct Seen {
    /// `None` when it could not be asked.
    relay: Option<Inventory>,
    containers: HashMap<InstanceId, AtDocker>,
    rows: HashMap<InstanceId, InstanceRow>,
}

/// Works through the journal; returns when every session is adopted or on its way to its end.
pub(super) async fn run(node: &Node, mut known: Recovered, tasks: &Tasks) {
    let (relay, containers) = tokio::join!(ask_relay(node), ask_docker(node));
    rebuild::run(node, &mut known, relay.as_ref(), &containers).await;
    let states = containers.iter().filter_map(|container| {
        let state = match container {
            container if container.paused => AtDocker::Paused,
            container if container.running => AtDocker::Runs,
            _ => AtDocker::Gone,
        };
        Some((instance_of(container)?, state))
    });
    let rows = known.instances.iter().map(|row| (row.id, row.clone()));
    let seen = Arc::new(Seen {
        relay,
        containers: states.collect(),
        rows: rows.collect(),
    });
    let claimed: HashSet<_> = known.sessions.iter().map(|row| row.instance).collect();
    info!(
        sessions = known.sessions.len(),
        instances = known.instances.len(),
        containers = containers.len(),
        attached = seen.relay.as_ref().map(|relay| relay.held.len()),
        "comparing the journal with the host"
    );
    stream::iter(known.sessions)
        .for_each_concurrent(AT_ONCE, |row| settle(node, row, &seen, tasks))
        .await;
    let unclaimed = known.instances.into_iter();
    let unclaimed = unclaimed.filter(|row| !claimed.contains(&row.id)).collect();
    let led = known.leases.iter().filter(|lease| lease.released.is_none());
    let led: HashSet<_> = led.map(|lease| lease.instance).collect();
    for row in pool::adopt(node, unclaimed, seen.relay.as_ref(), &led).await {
        destroy(node, row);
    }
    for lease in known.leases {
        let held =
            node.instances().get(lease.instance).is_some() || claimed.contains(&lease.instance);
        if lease.released.is_none() && !held {
            let released = node.routes().release(lease.instance).await;
            if let Err(error) = released {
                warn!(instance = %lease.instance, %error, "a route could not be given back");
            }
        }
    }
    let held = seen.relay.iter().flat_map(|relay| &relay.held);
    for held in held.filter(|held| !claimed.contains(&held.instance)) {
        if node.instances().get(held.instance).is_none() {
            info!(instance = %held.instance, "the relay holds what nobody knows: detached");
            let detached = node.instances().tools().relay.detach(held.instance).await;
            if let Err(error) = detached {
                warn!(instance = %held.instance, %error, "not detached");
            }
        }
    }
}

/// What the relay holds; `None` when it has gone since it was greeted.
async fn ask_relay(node: &Node) -> Option<Inventory> {
    for _ in 0..ASK_TRIES {
        match node.instances().tools().relay.list().await {
            Ok(inventory) => return Some(inventory),
            Err(error) => warn!(%error, "the relay cannot be asked what it holds"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}

/// Our containers, as soon as Docker says.
pub(super) async fn ask_docker(node: &Node) -> Vec<Container> {
    let mut pause = PAUSE;
    loop {
        match node.instances().tools().docker.list(&node.label()).await {
            Ok(containers) => {
                node.condition(|conditions| conditions.docker_down = None);
                return containers;
            }
            Err(error) => {
                warn!(%error, "Docker cannot be asked what runs: nothing is decided before");
                node.condition(|conditions| conditions.docker_down = Some(error.to_string()));
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn settle(node: &Node, row: SessionRow, seen: &Arc<Seen>, tasks: &Tasks) {
    let container = seen.containers.get(&row.instance);
    let container = container.copied().unwrap_or(AtDocker::Gone);
    let relay = at_relay(&row, seen.relay.as_ref());
    let verdict = reconcile::decide(journalled(&row), container, relay);
    info!(session = %row.id, ?verdict, "reconcile");
    match verdict {
        Verdict::Adopt | Verdict::Keep => drop(adopt(node, row, seen, container).await),
        Verdict::Reattach => {
            if let Some((instance, session)) = adopt(node, row, seen, container).await {
                restore(instance, session).await;
            }
        }
        Verdict::DestroyOnly => forget(node, row.instance, seen),
        Verdict::TakeEnding(_) | Verdict::AskAgain(_) | Verdict::EndAs(..) => {
            let session = node.sessions().resume(row);
            let (node, seen) = (node.clone(), Arc::clone(seen));
            tasks.spawn("end of a found session", |stop| async move {
                tokio::select! {
                    () = end(&node, &session, verdict, &seen) => {}
                    // Where it is goes on with the next agent.
                    () = stop.cancelled() => {}
                }
            });
        }
    }
}

/// Ends a session as was decided; what is left of its instance goes once its bytes are final.
async fn end(node: &Node, session: &Session, verdict: Verdict, seen: &Seen) {
    let instance = session.row().instance;
    match verdict {
        Verdict::TakeEnding(ending) => {
            // Whoever asked for it said why; of a death nobody has looked at what is left yet.
            let cause = match ending.blame {
                Some(_) => None,
                None => link::found_out(node, session, &ending).await,
            };
            if !session.cut_for(ending, cause).await {
                return;
            }
        }
        Verdict::AskAgain(reason) | Verdict::EndAs(reason, When::Now) => {
            let cause = if reason == EndReason::SubstrateDown {
                "its container was gone when the agent started"
            } else {
                "found after a restart of the agent"
            };
            drop(session.end(reason, Some(cause.to_owned())).await);
        }
        Verdict::EndAs(reason, when) => {
            if !closing::end_in_the_past(node, session, reason, when).await {
                return;
            }
        }
        Verdict::Adopt | Verdict::Keep | Verdict::Reattach | Verdict::DestroyOnly => {}
    }
    forget(node, instance, seen);
}

fn journalled(row: &SessionRow) -> Journalled {
    match row.phase {
        Phase::Creating => Journalled::Creating,
        Phase::Ready => {
            let now = boot_now().ok();
            Journalled::Ready(match now.map(|now| row.deadline.until(now)) {
                Some(Some(left)) if left.is_zero() => Deadline::Passed,
                // A clock that cannot be read says nothing against a session.
                Some(Some(_)) | None => Deadline::Ahead,
                Some(None) => Deadline::OtherBoot,
            })
        }
        Phase::Closing => Journalled::Closing(row.asked.unwrap_or(EndReason::SubstrateDown)),
        Phase::Ended => Journalled::Ended,
    }
}

fn at_relay(row: &SessionRow, relay: Option<&Inventory>) -> AtRelay {
    let Some(relay) = relay else {
        return AtRelay::Away;
    };
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
async fn adopt(
    node: &Node,
    row: SessionRow,
    seen: &Seen,
    container: AtDocker,
) -> Option<(Instance, Session)> {
    if container == AtDocker::Paused {
        let docker = &node.instances().tools().docker;
        if let Err(error) = docker.unpause(&container_name(row.instance)).await {
            warn!(session = %row.id, %error, "its frozen container cannot be woken");
        }
    }
    let adopted = match seen.rows.get(&row.instance) {
        Some(instance) => {
            let phone = Phone {
                device: row.device.clone().unwrap_or_default(),
                version: row.browser_version.clone().unwrap_or_default(),
                capabilities: row.capabilities,
                image: instance.image.clone(),
            };
            let bound = InstanceRow {
                phase: InstancePhase::Bound,
                ..instance.clone()
            };
            // What it holds goes on; only a relay that lost it would have to be told the way again.
            let way = node.routes().way(&row).inspect_err(|lost| {
                warn!(session = %row.id, %lost, "it ends if the relay forgets it");
            });
            let claim = Some(session::claim(&row, way.ok()));
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
        match instance.reattach(session.seen()).await {
            Ok(()) => return,
            Err(InstanceError::Relay(error)) if is_away(&error) => return,
            Err(error) => cause = error.to_string(),
        }
        tokio::time::sleep(PAUSE).await;
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
