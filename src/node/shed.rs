//! Ends what a host in a critical condition cannot keep: `substrate_down`, not charged, with the
//! condition as the cause and one numbered event for all that it takes at once.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;
use tracing::warn;

use super::{
    Node, failover,
    guard::{Candidate, Rank, next_is_due, order, tolls},
};
use crate::{
    host::monitor::{LostRoute, Standing, Toll},
    instance::View,
    journal::SessionRow,
    model::{Blame, Failure, InstanceId, Phase, SessionId},
    runtime::wall_now,
    session::{Cause, Session, What},
};

/// Who was told to go, and when the last was.
#[derive(Debug)]
pub(super) struct Shedder {
    interval: Duration,
    route_grace: Duration,
    told: HashSet<SessionId>,
    last: Option<Instant>,
}

impl Shedder {
    pub(super) fn new(interval: Duration, route_grace: Duration) -> Self {
        Self {
            interval,
            route_grace,
            told: HashSet::new(),
            last: None,
        }
    }

    /// Takes what the conditions demand now; never waits for an end.
    pub(super) async fn act(&mut self, node: &Node, standings: &[Standing], lost: &[LostRoute]) {
        let due = tolls(standings);
        if due.is_empty() {
            self.last = None;
            self.told.clear();
            return;
        }
        for standing in due {
            match standing.condition.toll() {
                Toll::Nobody => {}
                Toll::Everybody => self.take(node, standing, |_row| true).await,
                Toll::OnLostRoutes => {
                    let beyond = |one: &&LostRoute| one.gone_for >= self.route_grace;
                    let lost: Vec<_> = lost
                        .iter()
                        .filter(beyond)
                        .map(|l| l.route.clone())
                        .collect();
                    let moved = failover::move_off(node, &lost).await;
                    let on_it = |row: &SessionRow| {
                        let lost = row.held_route().is_some_and(|at| lost.contains(&at));
                        lost && !moved.contains(&row.id)
                    };
                    self.take(node, standing, on_it).await;
                }
                Toll::OneByOne => self.take_one(node, standing).await,
            }
        }
    }

    async fn take(&mut self, node: &Node, standing: &Standing, whom: impl Fn(&SessionRow) -> bool) {
        let sessions = node.sessions().all().into_iter().filter(|session| {
            let row = session.row();
            row.phase < Phase::Closing && whom(&row) && !self.told.contains(&row.id)
        });
        self.end(node, standing, sessions.collect()).await;
    }

    async fn take_one(&mut self, node: &Node, standing: &Standing) {
        let since = self.last.map(|last| last.elapsed());
        if !next_is_due(since, node.destroying(), self.interval) {
            return;
        }
        let mut candidates = candidates(node, &self.told);
        order(&mut candidates);
        let Some(victim) = candidates.first() else {
            return;
        };
        self.last = Some(Instant::now());
        match (victim.rank, node.sessions().on(victim.instance)) {
            (Rank::Creating | Rank::Serving, Some(session)) => {
                self.end(node, standing, vec![session]).await;
            }
            (Rank::Creating | Rank::Serving, None) => {}
            (Rank::Parked, _) => drop_parked(node, standing, victim.instance).await,
        }
    }

    async fn end(&mut self, node: &Node, standing: &Standing, sessions: Vec<Session>) {
        if sessions.is_empty() {
            return;
        }
        let cause = saw(standing);
        let ids: Vec<_> = sessions.iter().map(|s| s.row().id.clone()).collect();
        warn!(condition = %standing.condition, sessions = ids.len(), "sessions are ended: {cause}");
        self.told.extend(ids.iter().cloned());
        node.hub().publish(What::SubstrateDown {
            cause: cause.clone(),
            condition: Some(standing.condition),
            sessions: ids,
        });
        for session in sessions {
            let cause = Cause {
                saw: cause.clone(),
                blame: Blame::Host,
                told: true,
            };
            session.substrate_down(cause).await;
        }
    }
}

fn saw(standing: &Standing) -> String {
    format!("the host's {} is {}", standing.condition, standing.level)
}

async fn drop_parked(node: &Node, standing: &Standing, id: InstanceId) {
    if let Some(instance) = node.instances().get(id) {
        warn!(instance = %id, condition = %standing.condition, "a parked browser is removed");
        let failure = Failure {
            code: "substrate_down".to_owned(),
            message: saw(standing),
            blame: Blame::Host,
        };
        instance.destroy(Some(failure)).await;
    }
}

fn candidates(node: &Node, told: &HashSet<SessionId>) -> Vec<Candidate> {
    let sessions: Vec<_> = node.sessions().all().iter().map(Session::row).collect();
    let parked = |id| sessions.iter().all(|row| row.instance != id);
    let nobodys = node.instances().all().into_iter().filter_map(|instance| {
        let free = matches!(instance.view(), View::Parked(_)) && parked(instance.id);
        free.then(|| Candidate {
            instance: instance.id,
            rank: Rank::Parked,
            since: wall_now(),
            bytes: 0,
        })
    });
    let nobodys: Vec<_> = nobodys.collect();
    let held = sessions.iter().filter_map(|row| {
        let rank = match row.phase {
            Phase::Creating => Rank::Creating,
            Phase::Ready => Rank::Serving,
            Phase::Closing | Phase::Ended => return None,
        };
        let traffic = node.sessions().live(row).traffic;
        (!told.contains(&row.id)).then(|| Candidate {
            instance: row.instance,
            rank,
            since: row.ready_at.unwrap_or(row.created_at),
            bytes: traffic.up.saturating_add(traffic.down),
        })
    });
    nobodys.into_iter().chain(held).collect()
}
