//! What becomes of what an earlier agent left: first the decision, pure, then the work.
//!
//! The relay and Docker are asked once; every session and instance of the journal is then compared
//! with their answers, side by side.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{StreamExt, stream};
use tracing::{info, warn};

use super::Node;
use crate::{
    docker::Container,
    instance::{self, INSTANCE_LABEL, Instance, Phone},
    journal::{InstanceRow, Recovered, SessionRow},
    model::{EndReason, Ending, InstanceId, InstancePhase, Phase, SessionId},
    relay::client::{Inventory, RelayError},
    runtime::boot_now,
    session::{self, Session},
};

const AT_ONCE: usize = 16;
const REATTACH_TRIES: u32 = 3;

/// What was seen of one session's surroundings.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    /// The relay remembers how it ended.
    ended_at_relay: bool,
    /// The relay serves it.
    attached: bool,
    /// Its container runs.
    running: bool,
    /// The host was not restarted since.
    same_boot: bool,
    /// Its ttl ran out.
    expired: bool,
}

/// What becomes of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// As the relay says.
    TakeEnding,
    /// It was never ready, and nobody goes on making it.
    Fail,
    /// Its end was asked for: go on asking.
    GoOnClosing,
    /// What it ran on is gone.
    SubstrateDown,
    /// Nobody was there to end it in time.
    Expired,
    /// Nothing is touched.
    Adopt,
    /// The relay must be given everything again.
    Reattach,
}

const fn verdict(phase: Phase, facts: Facts) -> Verdict {
    match phase {
        _ if facts.ended_at_relay => Verdict::TakeEnding,
        Phase::Creating => Verdict::Fail,
        Phase::Closing | Phase::Ended => Verdict::GoOnClosing,
        Phase::Ready if !facts.same_boot || !facts.running => Verdict::SubstrateDown,
        Phase::Ready if facts.attached => Verdict::Adopt,
        Phase::Ready if facts.expired => Verdict::Expired,
        Phase::Ready => Verdict::Reattach,
    }
}

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
    let label = node.label();
    let containers = tools.docker.list(&label).await.unwrap_or_else(|error| {
        warn!(%error, "Docker cannot be asked what runs");
        Vec::new()
    });
    let seen = Arc::new(Seen {
        relay,
        running: containers
            .iter()
            .filter(|container| container.running)
            .filter_map(instance_of)
            .collect(),
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
        if lease.released.is_none() && node.instances().get(lease.instance).is_none() {
            release(node, lease.instance).await;
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
    let ending = ending_of(&row.id, &seen.relay);
    let facts = facts(&row, seen, ending.is_some());
    let verdict = verdict(row.phase, facts);
    info!(session = %row.id, ?verdict, "reconcile");
    match verdict {
        Verdict::Adopt | Verdict::Reattach => return adopt(node, row, seen, verdict).await,
        Verdict::TakeEnding
        | Verdict::Fail
        | Verdict::GoOnClosing
        | Verdict::SubstrateDown
        | Verdict::Expired => {}
    }
    let instance = row.instance;
    let session = node.sessions().resume(row);
    match (verdict, ending) {
        (Verdict::TakeEnding, Some(ending)) => drop(session.cut(ending).await),
        (Verdict::SubstrateDown, _) => {
            let cause = if facts.same_boot {
                "its container was gone when the agent started"
            } else {
                "the host was restarted"
            };
            end(&session, EndReason::SubstrateDown, cause).await;
        }
        (Verdict::Expired, _) => end(&session, EndReason::TtlExpired, "").await,
        // Its driver knows what to do with the state it has; an end that is asked for again waits.
        _ => end(&session, EndReason::Error, "").await,
    }
    // The counters file goes with the instance: only after the bytes are final.
    if let Some(row) = seen.rows.get(&instance) {
        destroy(node, row.clone());
    }
}

async fn end(session: &Session, reason: EndReason, detail: &str) {
    let detail = (!detail.is_empty()).then(|| detail.to_owned());
    drop(session.end(reason, detail).await);
}

fn facts(row: &SessionRow, seen: &Seen, ended_at_relay: bool) -> Facts {
    let now = boot_now().ok();
    let left = now.and_then(|now| row.deadline.until(now));
    let same = |session: &Option<SessionId>| session.as_ref() == Some(&row.id);
    Facts {
        ended_at_relay,
        attached: seen
            .relay
            .held
            .iter()
            .any(|held| held.instance == row.instance && same(&held.session)),
        running: seen.running.contains(&row.instance),
        same_boot: left.is_some(),
        expired: left.is_some_and(|left| left.is_zero()),
    }
}

fn ending_of(session: &SessionId, relay: &Inventory) -> Option<Ending> {
    let ended = relay.ended.iter().find(|ended| ended.session == *session)?;
    Some(ended.ending.clone())
}

async fn adopt(node: &Node, row: SessionRow, seen: &Seen, verdict: Verdict) {
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
            let claim = session::claim(&row);
            node.instances().adopt(bound, phone, Some(claim)).await
        }
        None => Err(instance::StartError::Replaced),
    };
    let instance = row.instance;
    let session = node.sessions().resume(row);
    match adopted {
        Ok(instance) if verdict == Verdict::Reattach => {
            restore(instance, session).await;
        }
        Ok(_) => {}
        Err(error) => {
            end(&session, EndReason::SubstrateDown, &error.to_string()).await;
            if let Some(row) = seen.rows.get(&instance) {
                destroy(node, row.clone());
            }
        }
    }
}

/// Hands an instance to a relay that lost it; a session that cannot be carried on ends.
pub(super) async fn restore(instance: Instance, session: Session) {
    let mut cause = String::new();
    for _ in 0..REATTACH_TRIES {
        match instance.reattach().await {
            Ok(()) => return,
            Err(instance::InstanceError::Relay(RelayError::Unknown(why))) => cause = why,
            Err(error) => cause = error.to_string(),
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let detail = format!("the relay could not be given the browser again: {cause}");
    session.end_soon(EndReason::SubstrateDown, detail).await;
}

fn destroy(node: &Node, row: InstanceRow) {
    if node.instances().get(row.id).is_none() {
        drop(node.instances().drive(InstanceRow {
            phase: InstancePhase::Destroying,
            ..row
        }));
    }
}

async fn release(node: &Node, instance: InstanceId) {
    let routes = &node.instances().tools().routes;
    if let Err(error) = routes.release(instance).await {
        warn!(%instance, %error, "an address could not be given back");
    }
}

/// The instance that a container of ours is.
pub(super) fn instance_of(container: &Container) -> Option<InstanceId> {
    container.labels.get(INSTANCE_LABEL)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: Facts = Facts {
        ended_at_relay: false,
        attached: true,
        running: true,
        same_boot: true,
        expired: false,
    };

    #[test]
    fn the_table_of_restarts() {
        let say = |phase, change: fn(&mut Facts)| {
            let mut facts = LIVE;
            change(&mut facts);
            verdict(phase, facts)
        };
        assert_eq!(say(Phase::Ready, |_| {}), Verdict::Adopt);
        assert_eq!(say(Phase::Ready, |f| f.attached = false), Verdict::Reattach);
        assert_eq!(
            say(Phase::Ready, |f| f.running = false),
            Verdict::SubstrateDown
        );
        assert_eq!(
            say(Phase::Ready, |f| f.same_boot = false),
            Verdict::SubstrateDown
        );
        assert_eq!(
            say(Phase::Ready, |f| (f.attached, f.expired) = (false, true)),
            Verdict::Expired
        );
        assert_eq!(
            say(Phase::Ready, |f| f.expired = true),
            Verdict::Adopt,
            "the relay's clock ends it, not ours"
        );
        assert_eq!(say(Phase::Creating, |_| {}), Verdict::Fail);
        assert_eq!(say(Phase::Closing, |_| {}), Verdict::GoOnClosing);
        for phase in [Phase::Creating, Phase::Ready, Phase::Closing] {
            let facts = |f: &mut Facts| (f.ended_at_relay, f.running) = (true, false);
            assert_eq!(say(phase, facts), Verdict::TakeEnding);
        }
    }
}
