//! What can be asked of a node.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Node, NodeError, NodeState};
use crate::{
    instance,
    journal::SessionRow,
    model::{EndReason, InstanceId, Phase, SessionId, SessionSpec},
    session::Snapshot,
};

/// How many ended sessions a list holds.
const LISTED: u32 = 1_000;
/// A question that needs the whole host waits this long for the comparison at the start.
const SETTLES: Duration = Duration::from_millis(1_500);

/// Where a session lives on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Which.
    pub session: SessionId,
    /// Its instance.
    pub instance: Option<InstanceId>,
    /// Name of its container, while there is one.
    pub container_name: Option<String>,
    /// Docker's id of it.
    pub container_id: Option<String>,
    /// Pid of its init, while it runs.
    pub container_pid: Option<u32>,
    /// The route's name and kind, or `direct` for the host's default address.
    pub route: String,
    /// The relay's pid, 0 when there is none.
    pub relay_pid: u32,
    /// The relay's id, empty when there is none.
    pub relay_id: String,
}

impl Node {
    /// Orders a session; answers once the order is journalled and early clients are held.
    /// Idempotent by id. Dropping the future does not take the order back.
    ///
    /// # Errors
    /// [`NodeError`]: nothing was made, except for [`NodeError::Stopping`].
    pub async fn provision(
        &self,
        id: SessionId,
        spec: SessionSpec,
    ) -> Result<watch::Receiver<Snapshot>, NodeError> {
        let session = match self.sessions().get(&id) {
            Some(session) => session,
            None => match self.journal().find(&id).await? {
                Some(row) => {
                    same(&row, &spec)?;
                    // Its sender is gone: this is its last word.
                    let (_over, snapshot) = watch::channel(Snapshot::from(&row));
                    return Ok(snapshot);
                }
                None => self.admit(id, spec.clone())?,
            },
        };
        // Of two orders under one id that came at once, one is admitted and the other compared.
        same(&session.row(), &spec)?;
        session.accepted().await?;
        Ok(session.watch())
    }

    /// The way out of a session, for operators: never a login.
    fn describe_route(&self, row: &SessionRow) -> String {
        if let Some(own) = &row.spec.egress.own {
            return format!("own {}", own.server);
        }
        let Some(name) = row.held_route() else {
            return "direct".to_owned();
        };
        match self.routes().named(&name) {
            Some(route) if route.address().is_some() => route.describe(),
            Some(route) => route.to_string(),
            None => format!("{name} (configured no longer)"),
        }
    }

    /// Ends a session and says how it ended, which may be earlier and for another reason, and
    /// whether it was this call that ended it.
    ///
    /// # Errors
    /// [`NodeError::Unknown`] among others.
    pub async fn teardown(
        &self,
        id: &SessionId,
        reason: EndReason,
    ) -> Result<(Snapshot, bool), NodeError> {
        if let Some(session) = self.sessions().get(id) {
            let outcome = session.end(reason, None).await;
            let outcome = outcome.ok_or(NodeError::Stopping)?;
            return Ok((Snapshot::from(&*outcome.row), outcome.won));
        }
        let row = self.journalled(id).await?;
        if row.phase == Phase::Ended {
            return Ok((Snapshot::from(&row), false));
        }
        // Known to the journal alone: nobody drives it yet.
        Err(not_ready(&NodeState::Starting))
    }

    /// One session, live or ended within the retention.
    ///
    /// # Errors
    /// [`NodeError::Unknown`] among others.
    pub async fn get(&self, id: &SessionId) -> Result<Snapshot, NodeError> {
        let row = self.find(id).await?;
        let mut snapshot = match self.sessions().get(id) {
            Some(session) => session.shown(&row),
            None => Snapshot::from(&*row),
        };
        if self.inner.egress.config.top_hosts > 0 && row.phase == Phase::Ready {
            let hosts = self.instances().tools().relay.hosts(row.instance).await;
            // Without a relay there is nothing to show of them; the rest is worth showing.
            snapshot.hosts = hosts.unwrap_or_default();
        }
        Ok(snapshot)
    }

    async fn find(&self, id: &SessionId) -> Result<Arc<SessionRow>, NodeError> {
        match self.sessions().get(id) {
            Some(session) => Ok(self.sessions().live(&session.row())),
            None => self.journalled(id).await.map(Arc::new),
        }
    }

    async fn journalled(&self, id: &SessionId) -> Result<SessionRow, NodeError> {
        let row = self.journal().find(id).await?;
        if let Some(row) = row {
            return Ok(row);
        }
        // A damaged journal is rebuilt from the host: what it lacks before says nothing.
        self.settled().await?;
        let row = self.journal().find(id).await?;
        row.ok_or_else(|| NodeError::Unknown { id: id.clone() })
    }

    /// Waits, for a moment, until everything that lives here is known.
    async fn settled(&self) -> Result<(), NodeError> {
        let compared = self.state_after(&NodeState::Starting);
        match tokio::time::timeout(SETTLES, compared).await {
            Ok(_settled) => Ok(()),
            Err(_late) => Err(not_ready(&NodeState::Starting)),
        }
    }

    /// Every session that lives, and (unless `live_only`) the last thousand that ended; newest first.
    /// `with_usage` looks at what each takes of the host, too.
    ///
    /// # Errors
    /// [`NodeError`] when the journal cannot be asked, or is still compared with the host.
    pub async fn list(
        &self,
        live_only: bool,
        with_usage: bool,
    ) -> Result<Vec<Snapshot>, NodeError> {
        // One that lives and is left out would be taken for lost.
        self.settled().await?;
        let ended = if live_only {
            Vec::new()
        } else {
            self.journal().ended(LISTED).await?
        };
        let here = self.sessions().all();
        let here = here.iter().map(|session| {
            let row = self.sessions().live(&session.row());
            (session.shown(&row), row.instance)
        });
        let here = here.filter(|(session, _)| !live_only || session.phase != Phase::Ended);
        let mut all = if with_usage {
            self.with_usage(here.collect()).await
        } else {
            here.map(|(session, _)| session).collect()
        };
        all.extend(ended.iter().map(Snapshot::from));
        // Ids are UUIDv7: their order is the order of creation. What has just ended is in both.
        all.sort_by(|a, b| b.id.cmp(&a.id));
        all.dedup_by(|a, b| a.id == b.id);
        Ok(all)
    }

    /// Where a session lives on this host.
    ///
    /// # Errors
    /// [`NodeError::Unknown`] among others.
    pub async fn inspect(&self, id: &SessionId) -> Result<Placement, NodeError> {
        let row = self.find(id).await?;
        let docker = &self.instances().tools().docker;
        let name = instance::container_name(row.instance);
        // An operator asks this when things are bad: Docker away is an answer, not an error.
        let container = docker.inspect(&name).await.ok().flatten();
        let relay = self.relay();
        Ok(Placement {
            session: row.id.clone(),
            instance: Some(row.instance),
            container_name: container.as_ref().map(|container| container.name.clone()),
            container_pid: container
                .as_ref()
                .filter(|container| container.running)
                .map(|container| container.pid),
            container_id: container.map(|container| container.id),
            route: self.describe_route(&row),
            relay_pid: relay.as_ref().map_or(0, |relay| relay.pid),
            relay_id: relay.map_or_else(String::new, |relay| relay.relay_id),
        })
    }
}

fn same(row: &SessionRow, spec: &SessionSpec) -> Result<(), NodeError> {
    if row.spec == *spec {
        Ok(())
    } else {
        Err(NodeError::OtherSpec { id: row.id.clone() })
    }
}

pub(super) fn not_ready(state: &NodeState) -> NodeError {
    let why = match state {
        NodeState::NotReady(why) => why.clone(),
        NodeState::Starting | NodeState::Ready => {
            "it compares its journal with the host".to_owned()
        }
    };
    NodeError::NotReady { why }
}
