//! What is worth a letter: pure over what the node publishes, and the task that writes the letters.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    fs,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    queue::{Letter, Queue},
    sign::idempotency_key,
};
use crate::{
    model::{Duty, Phase},
    node::{Capacity, Node, NodeState, PoolProfile},
    runtime::wall_now,
    session::{Item, Snapshot, What},
};

/// As far before the last letter as an ending may have been journalled and not told.
const SLACK: Duration = Duration::from_secs(10);
/// Endings that are looked through for those that were missed.
const LOOKED_THROUGH: u32 = 10_000;
/// Keys that are remembered, so that one run writes no letter twice.
const REMEMBERED: usize = 20_000;
/// A disk that is full is tried again after this long.
const PAUSE: Duration = Duration::from_secs(1);

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
struct Happened {
    event: &'static str,
    /// What makes it this one and no other.
    subject: String,
    at: OffsetDateTime,
    data: Value,
}

/// What stands and was told: each of these is told when it begins, not again while it lasts.
#[derive(Debug, Default)]
struct Edges {
    ready: bool,
    exhausted: bool,
    low: BTreeSet<String>,
}

impl Edges {
    /// What begins now.
    fn see(
        &mut self,
        state: &NodeState,
        capacity: Capacity,
        pool: &[PoolProfile],
        at: OffsetDateTime,
    ) -> Vec<Happened> {
        let mut begun = Vec::new();
        let mut begin = |event, what: &str, data| {
            let subject = format!("{what}@{}", at.unix_timestamp_nanos());
            begun.push(Happened {
                event,
                subject,
                at,
                data,
            });
        };
        let ready = *state == NodeState::Ready;
        if ready && !self.ready {
            begin("node.ready", "", json!({}));
        }
        self.ready = ready;
        let exhausted = ready && capacity.free == 0;
        if exhausted && !self.exhausted {
            let data = json!({ "slots": capacity.slots, "sessions": capacity.sessions });
            begin("capacity.exhausted", "", data);
        }
        self.exhausted = exhausted;
        for of in pool {
            let (parked, target) = (of.parked, usize::try_from(of.target).unwrap_or(usize::MAX));
            if parked * 2 < target {
                if self.low.insert(of.profile.clone()) {
                    let data = json!({ "profile": of.profile, "parked": parked, "target": target });
                    begin("pool.low", &of.profile, data);
                }
            } else if parked >= target {
                self.low.remove(&of.profile);
            }
        }
        begun
    }
}

/// What an event of the hub is worth.
fn published(seq: u64, at: OffsetDateTime, what: &What) -> Option<Happened> {
    let happened = |event, subject: String, data| {
        Some(Happened {
            event,
            subject,
            at,
            data,
        })
    };
    match what {
        What::Session(session) => ended(session),
        What::SubstrateDown {
            cause,
            condition,
            sessions,
        } => {
            let ids: Vec<_> = sessions.iter().map(|id| id.as_str()).collect();
            let condition = condition.map(|condition| condition.to_string());
            let data = json!({ "cause": cause, "condition": condition, "session_ids": ids });
            happened("substrate_down", seq.to_string(), data)
        }
        What::Duty {
            duty: Duty::Draining { deadline, .. },
            sessions,
        } => {
            let data = json!({ "deadline": text(*deadline), "sessions": sessions });
            happened("node.draining", seq.to_string(), data)
        }
        What::Duty { .. }
        | What::Condition(_)
        | What::Orphan { .. }
        | What::Rerouted { .. }
        | What::Slot { .. } => None,
    }
}

/// A session that has ended, as a receiver sees it.
fn ended(session: &Snapshot) -> Option<Happened> {
    let (Phase::Ended, Some(reason), Some(at)) =
        (session.phase, session.end_reason, session.ended_at)
    else {
        return None;
    };
    let failure = session.failure.as_ref().map(
        |failure| json!({ "code": failure.code, "message": failure.message, "blame": failure.blame.as_str() }),
    );
    let data = json!({
        "session_id": session.id.as_str(),
        "reason": reason.as_str(),
        "failure": failure,
        "billable": session.billable,
        "profile": session.spec.profile,
        "substrate": session.spec.substrate.as_str(),
        "labels": session.spec.labels,
        "created_at": text(session.created_at),
        "ready_at": session.ready_at.map(text),
        "ended_at": text(at),
        "bytes_up": session.traffic.up,
        "bytes_down": session.traffic.down,
        "connections": session.traffic.connections,
    });
    Some(Happened {
        event: "session.ended",
        subject: session.id.as_str().to_owned(),
        at,
        data,
    })
}

fn text(at: OffsetDateTime) -> String {
    // Every date of this era can be written so.
    at.format(&Rfc3339).unwrap_or_default()
}

/// Who writes letters: knows what was written, and up to when everything was.
#[derive(Debug)]
pub(super) struct Clerk {
    queues: Vec<Arc<Queue>>,
    wanted: Vec<String>,
    /// The file with the moment of the last letter.
    seen: PathBuf,
    written: HashSet<String>,
    order: VecDeque<String>,
}

impl Clerk {
    pub(super) fn new(queues: Vec<Arc<Queue>>, wanted: Vec<String>, seen: PathBuf) -> Self {
        Self {
            queues,
            wanted,
            seen,
            written: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// The moment of the last letter of an earlier agent.
    fn last_seen(&self) -> Option<OffsetDateTime> {
        let text = fs::read_to_string(&self.seen).ok()?;
        OffsetDateTime::parse(text.trim(), &Rfc3339).ok()
    }

    /// Writes a letter to every target; tries again while the disk refuses. Returns at once for what
    /// was written before or is not wanted.
    async fn write(&mut self, node: &str, happened: Happened, stop: &CancellationToken) {
        if !self.wanted.iter().any(|wanted| wanted == happened.event) {
            return;
        }
        let id = idempotency_key(node, happened.event, &happened.subject);
        if !self.written.insert(id.clone()) {
            return;
        }
        self.order.push_back(id.clone());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.written.remove(&oldest);
        }
        let letter = Arc::new(Letter {
            id,
            event: happened.event.to_owned(),
            at: text(happened.at),
            node: node.to_owned(),
            data: happened.data,
        });
        for queue in self.queues.clone() {
            loop {
                let (at, what) = (Arc::clone(&queue), Arc::clone(&letter));
                let written = tokio::task::spawn_blocking(move || at.push(&what)).await;
                match written {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) => warn!(%error, "a hook's letter cannot be written yet"),
                    Err(_panicked) => break,
                }
                let waited = stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                if waited.is_none() {
                    // The next agent finds endings in the journal.
                    return;
                }
            }
        }
        if let Err(error) = fs::write(&self.seen, &letter.at) {
            warn!(%error, "the next start may tell endings again");
        }
    }
}

/// Writes letters until it is stopped; what was published by then is written first.
pub(super) async fn run(node: Node, mut clerk: Clerk, stop: CancellationToken) {
    let name = node.id().to_string();
    let mut edges = Edges::default();
    match clerk.last_seen() {
        Some(last) => catch_up(&node, &mut clerk, last - SLACK, &stop).await,
        // The first start with hooks: what ended before is history.
        None => drop(fs::write(&clerk.seen, text(wall_now()))),
    }
    let mut items = pin!(node.hub().watch(0));
    let mut changes = node.instances().changes();
    let mut conditions = node.inner.conditions.subscribe();
    loop {
        let begun = edges.see(
            &node.state(),
            node.capacity(),
            &node.pool().status(),
            wall_now(),
        );
        for happened in begun {
            clerk.write(&name, happened, &stop).await;
        }
        tokio::select! {
            item = items.next() => match item {
                Some(item) => take(&node, &mut clerk, item, &stop).await,
                None => return,
            },
            // A node that goes drops its senders with everything else.
            _ = changes.changed() => {}
            _ = conditions.changed() => {}
            () = stop.cancelled() => break,
        }
    }
    // The last words of sessions that ended with the process.
    while let Some(Some(item)) = items.next().now_or_never() {
        take(&node, &mut clerk, item, &stop).await;
    }
}

async fn take(node: &Node, clerk: &mut Clerk, item: Item, stop: &CancellationToken) {
    match item {
        Item::Event(event) => {
            if let Some(happened) = published(event.seq, event.at, &event.what) {
                let name = node.id().to_string();
                clerk.write(&name, happened, stop).await;
            }
        }
        Item::Gap { .. } => {
            let since = clerk.last_seen().unwrap_or(OffsetDateTime::UNIX_EPOCH);
            catch_up(node, clerk, since - SLACK, stop).await;
        }
    }
}

/// Endings that the journal knows and no letter tells.
async fn catch_up(node: &Node, clerk: &mut Clerk, since: OffsetDateTime, stop: &CancellationToken) {
    let rows = match node.journal().ended(LOOKED_THROUGH).await {
        Ok(rows) => rows,
        Err(error) => return warn!(%error, "endings that hooks missed cannot be looked up"),
    };
    let missed = rows
        .iter()
        .rev()
        .map(Snapshot::from)
        .filter_map(|s| ended(&s));
    let name = node.id().to_string();
    for happened in missed.filter(|happened| happened.at >= since) {
        clerk.write(&name, happened, stop).await;
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
