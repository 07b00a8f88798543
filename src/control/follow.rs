//! Keeps the records true: follows the node's events, compares when it may have missed some, and
//! forgets what is older than the retention.

use std::{collections::HashSet, time::Duration};

use futures::StreamExt;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Control, ControlError, NodeError, Sighting, node::News, order::lost};
use crate::{
    model::{EndReason, Phase},
    runtime::{Tasks, wall_now},
};

/// An order younger than this may not have reached its node yet, unless whoever recorded it is gone.
const ORDER_GRACE: Duration = Duration::from_secs(60);
/// Compare once in a while even when no event is missing, as a second line.
const COMPARE_EVERY: Duration = Duration::from_secs(60);
const RECONNECT_MIN: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(2);
const SWEEP_EVERY: Duration = Duration::from_secs(600);
const SWEEP_ROWS: u32 = 1_000;

/// Starts the follower and the sweep.
pub fn start(control: &Control, tasks: &Tasks) {
    let follower = control.clone();
    tasks.spawn("follow node", |stop| async move {
        stop.run_until_cancelled(follow(&follower)).await;
    });
    let sweeper = control.clone();
    tasks.spawn("sweep records", |stop| sweep(sweeper, stop));
}

async fn follow(control: &Control) {
    let mut pause = RECONNECT_MIN;
    let mut told = false;
    loop {
        match connection(control, &mut pause).await {
            Ok(()) => told = false,
            // Once per outage: the node says itself why it is away.
            Err(error) if !told => {
                warn!(%error, "lost the node's events, trying again");
                told = true;
            }
            Err(_still_away) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_MAX);
    }
}

/// Follows one connection to its end.
async fn connection(control: &Control, pause: &mut Duration) -> Result<(), ControlError> {
    // The stream first, so that nothing falls between it and the listing.
    let mut events = control
        .node()
        .watch()
        .await
        .map_err(ControlError::NodeAway)?;
    compare(control).await?;
    *pause = RECONNECT_MIN;
    let mut again = tokio::time::interval(COMPARE_EVERY);
    again.tick().await;
    loop {
        tokio::select! {
            item = events.next() => match item {
                Some(Ok(News::Session(sighting))) => {
                    control.observe(*sighting).await?;
                }
                Some(Ok(News::Gap)) => compare(control).await?,
                Some(Err(error)) => return Err(ControlError::NodeAway(error)),
                None => return Ok(()),
            },
            _ = again.tick() => compare(control).await?,
        }
    }
}

/// Brings records and node together once: what ended while a node was being stopped is recorded before
/// the process goes.
///
/// # Errors
/// [`ControlError`] when the node or the database does not answer.
pub async fn settle(control: &Control) -> Result<(), ControlError> {
    compare(control).await
}

/// Brings records and node together: folds what the node knows, ends what it has lost, and tears
/// down what runs although its record says that it has ended.
async fn compare(control: &Control) -> Result<(), ControlError> {
    let sightings = control.node().sessions(false).await;
    let sightings = sightings.map_err(ControlError::NodeAway)?;
    let known: HashSet<_> = sightings.iter().map(|s| s.id.clone()).collect();
    for sighting in sightings {
        let running = (sighting.phase != Phase::Ended).then(|| sighting.id.clone());
        control.observe(sighting).await?;
        let Some(id) = running else { continue };
        let record = control.store().record(&id).await?;
        if record.is_some_and(|record| record.status.is_terminal()) {
            info!(session = %id, "runs on the node although its order was given up");
            let torn = control
                .node()
                .teardown(&id, EndReason::AbandonedOrphan)
                .await;
            torn.map_err(ControlError::NodeAway)?;
        }
    }
    for record in control.store().live().await? {
        let under_way = under_way(record.created_at, control.started(), wall_now());
        if known.contains(&record.id) || under_way {
            continue;
        }
        match control.node().session(&record.id).await {
            Err(NodeError::Unknown) => {
                warn!(session = %record.id, "the node has lost a session");
                let end: Sighting = lost(&record, None);
                control.observe(end).await?;
            }
            Ok((sighting, _live)) => {
                control.observe(sighting).await?;
            }
            Err(error) => return Err(ControlError::NodeAway(error)),
        }
    }
    Ok(())
}

/// Whether an order may be on its way to the node: what another process recorded is not, for that
/// process is gone.
fn under_way(created: OffsetDateTime, started: OffsetDateTime, now: OffsetDateTime) -> bool {
    created >= started && now - created < ORDER_GRACE
}

async fn sweep(control: Control, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let before = wall_now() - control.config().record_retention;
        // Bounded, so that a large backlog does not keep requests waiting for the database.
        if let Err(error) = control.store().sweep(before, SWEEP_ROWS).await {
            warn!(%error, "old records stay for now");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_under_way_for_as_long_as_whoever_recorded_it_may_offer_it() {
        let started = OffsetDateTime::UNIX_EPOCH;
        let at = |seconds: i64| started + time::Duration::seconds(seconds);
        assert!(under_way(at(5), started, at(6)));
        assert!(!under_way(at(5), started, at(66)), "it was never offered");
        assert!(!under_way(at(-1), started, at(0)), "nobody offers it");
    }
}
