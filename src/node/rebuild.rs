//! Rows that the journal lost, made again from what the host still knows.
//!
//! | what is left | then |
//! |---|---|
//! | our container, a record of the relay's that is valid | session, instance and route are rows again |
//! | our container, its session ended in the journal | the instance is a row again, and destroyed |
//! | our container, no valid record | an orphan: the sweep's business, after its grace |
//! | an ending that the relay still tells, with a record | the session is a row again, and ends that way |
//!
//! A record is the session's row as the agent gave it to the relay with the claim. The relay is the
//! less trusted process: a record counts only for the container of ours that it names.

use std::collections::HashMap;

use time::OffsetDateTime;
use tracing::{error, info, warn};

use super::{Node, restart::instance_of};
use crate::{
    docker::Container,
    instance::binding,
    journal::{InstanceRow, LeaseRow, Recovered, SessionRow, Under},
    model::{InstanceId, InstancePhase, Phase},
    relay::{
        client::{Ended, Inventory},
        records,
    },
    runtime::wall_now,
};

/// What a record says, if it speaks of `instance`.
fn valid(instance: InstanceId, record: &[u8]) -> Option<SessionRow> {
    let row: SessionRow = serde_json::from_slice(record).ok()?;
    let fits = row.instance == instance && row.phase == Phase::Ready && row.ending.is_none();
    fits.then_some(row)
}

/// Records by instance; what the relay says itself counts more than what lies on disk.
fn claims(
    on_disk: Vec<(InstanceId, Vec<u8>)>,
    relay: Option<&Inventory>,
) -> HashMap<InstanceId, SessionRow> {
    let held = relay.iter().flat_map(|relay| &relay.held);
    let held = held.map(|held| (held.instance, held.record.clone()));
    let ended = relay.iter().flat_map(|relay| &relay.ended);
    let ended = ended.filter_map(|ended| Some((ended.instance?, ended.record.clone())));
    on_disk
        .into_iter()
        .chain(ended)
        .chain(held)
        .filter_map(|(instance, record)| Some((instance, valid(instance, &record)?)))
        .collect()
}

/// The session of an ending that the journal may have lost; old ones it has forgotten on purpose.
fn told(ended: &Ended, oldest: OffsetDateTime) -> Option<SessionRow> {
    let row = valid(ended.instance?, &ended.record)?;
    (row.id == ended.session && ended.ending.at > oldest).then_some(row)
}

const fn lease(instance: InstanceId, route: String) -> LeaseRow {
    LeaseRow {
        instance,
        route,
        released: None,
    }
}

/// Adds to `known` what the journal should have known, and journals it.
pub(super) async fn run(
    node: &Node,
    known: &mut Recovered,
    relay: Option<&Inventory>,
    containers: &[Container],
) {
    if let Some(damage) = &known.damage {
        error!(%damage, "sessions are recovered from the host");
    }
    let mut claims = claims(records::read_all(&node.instances().tools().paths), relay);
    for container in containers {
        let Some(instance) = instance_of(container) else {
            continue;
        };
        if known.instances.iter().all(|row| row.id != instance) {
            let claim = claims.remove(&instance);
            found(node, known, (container, instance), claim).await;
        }
    }
    let oldest = wall_now() - node.retention();
    for ended in relay.iter().flat_map(|relay| &relay.ended) {
        let Some(row) = told(ended, oldest) else {
            continue;
        };
        let lost = matches!(node.journal().find(&row.id).await, Ok(None));
        if lost && node.journal().session(row.clone()).await.is_ok() {
            info!(session = %row.id, "its ending is all that is left of it");
            known.sessions.push(row);
        }
    }
}

/// A container of ours that the journal does not know.
async fn found(
    node: &Node,
    known: &mut Recovered,
    (container, instance): (&Container, InstanceId),
    claim: Option<SessionRow>,
) {
    let Some(session) = claim else {
        warn!(%instance, "a container of ours that nobody can attribute");
        return;
    };
    // Inspected anew: a list does not tell pids.
    let tools = node.instances().tools();
    let seen = tools.docker.inspect(&container.id).await.ok().flatten();
    let row = InstanceRow {
        phase: InstancePhase::Bound,
        container: seen.as_ref().map(binding),
        ..InstanceRow::new(instance, session.spec.profile.clone(), None).on(session.spec.substrate)
    };
    let outcome = match node.journal().find(&session.id).await {
        // Known, and the instance is not: it had been given up.
        Ok(Some(_)) => node.journal().instance(row.clone()).await,
        Ok(None) => {
            let lease = session.held_route().map(|route| lease(instance, route));
            if let Some(lease) = &lease {
                node.routes().restore(lease);
            }
            let order = (session.clone(), Under::Fresh(row.clone()), lease);
            info!(session = %session.id, %instance, "recovered from the relay's record");
            known.sessions.push(session);
            node.journal().order(order.0, order.1, order.2).await
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => known.instances.push(row),
        Err(error) => warn!(%instance, %error, "cannot be journalled: left alone"),
    }
}

#[cfg(test)]
#[path = "rebuild_tests.rs"]
mod tests;
