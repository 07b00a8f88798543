//! What can be asked of a node.

use std::sync::Arc;

use super::{Node, NodeError, NodeState, admission};
use crate::{
    journal::SessionRow,
    model::{EndReason, InstanceId, Phase, SessionId, SessionSpec, Traffic},
    routes::RouteError,
    runtime::{boot_now, wall_now},
    session::Outcome,
};

/// How many ended sessions a list holds.
const LISTED: u32 = 1_000;

/// Where a session lives on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its instance.
    pub instance: InstanceId,
    /// Name of its container; empty when there is none.
    pub container_name: String,
    /// Docker's id of it.
    pub container_id: String,
    /// Pid of its init, 0 when it does not run.
    pub container_pid: u32,
    /// `direct <ip>`, or `direct` for the host's default address.
    pub route: String,
    /// The relay's pid, 0 when there is none.
    pub relay_pid: u32,
    /// The relay's id.
    pub relay_id: String,
}

impl Node {
    /// Orders a session. Idempotent by id; with `wait` the answer comes once it is ready or ended.
    /// Dropping the future does not take the order back.
    ///
    /// # Errors
    /// [`NodeError`]: nothing was made, except for [`NodeError::Stopping`].
    pub async fn provision(
        &self,
        id: SessionId,
        spec: SessionSpec,
        wait: bool,
    ) -> Result<Arc<SessionRow>, NodeError> {
        admission::validate(&spec)?;
        let session = match self.sessions().get(&id) {
            Some(session) => session,
            None => match self.journal().find(&id).await? {
                Some(row) => return same(Arc::new(row), &spec),
                None => self.admit(id, spec.clone())?,
            },
        };
        same(session.row(), &spec)?;
        session.accepted().await?;
        let row = if wait {
            session.provisioned().await
        } else {
            session.row()
        };
        Ok(self.sessions().live(&row))
    }

    fn admit(
        &self,
        id: SessionId,
        spec: SessionSpec,
    ) -> Result<crate::session::Session, NodeError> {
        let state = self.inner.state.borrow().clone();
        if state != NodeState::Ready {
            return Err(NodeError::NotReady(state.reason().to_owned()));
        }
        let (created_at, now) = (wall_now(), boot_now()?);
        let instance = InstanceId::random();
        let row = SessionRow {
            id,
            phase: Phase::Creating,
            asked: None,
            ending: None,
            failure: None,
            instance,
            egress: None,
            device: None,
            browser_version: None,
            traffic: Traffic::default(),
            created_at,
            ready_at: None,
            expires_at: created_at + spec.ttl,
            deadline: now.after(spec.ttl),
            spec,
        };
        let max = self.inner.max_sessions;
        self.sessions().order(row, |live| {
            // Memory comes back when a container is gone, not when its session ended.
            if live + self.destroying() >= usize::try_from(max).unwrap_or(usize::MAX) {
                return Err(NodeError::Full { max });
            }
            self.inner
                .routes
                .take(instance)
                .map_err(|error: RouteError| error.into())
        })
    }

    /// Ends a session and says how it ended, which may be earlier and for another reason.
    ///
    /// # Errors
    /// [`NodeError::Unknown`] among others.
    pub async fn teardown(&self, id: &SessionId, reason: EndReason) -> Result<Outcome, NodeError> {
        if let Some(session) = self.sessions().get(id) {
            return session.end(reason, None).await.ok_or(NodeError::Stopping);
        }
        let row = self.journalled(id).await?;
        if row.phase == Phase::Ended {
            return Ok(Outcome { row, won: false });
        }
        Err(NodeError::NotReady(NodeState::Starting.reason().to_owned()))
    }

    /// One session, live or ended within the retention.
    ///
    /// # Errors
    /// [`NodeError::Unknown`] among others.
    pub async fn get(&self, id: &SessionId) -> Result<Arc<SessionRow>, NodeError> {
        match self.sessions().get(id) {
            Some(session) => Ok(self.sessions().live(&session.row())),
            None => self.journalled(id).await,
        }
    }

    async fn journalled(&self, id: &SessionId) -> Result<Arc<SessionRow>, NodeError> {
        let row = self.journal().find(id).await?;
        row.map(Arc::new)
            .ok_or_else(|| NodeError::Unknown(id.clone()))
    }

    /// Every session that lives, and (unless `live_only`) the last thousand that ended; newest first.
    ///
    /// # Errors
    /// [`NodeError`] when the journal cannot be asked.
    pub async fn list(&self, live_only: bool) -> Result<Vec<Arc<SessionRow>>, NodeError> {
        let ended = if live_only {
            Vec::new()
        } else {
            self.journal().ended(LISTED).await?
        };
        let here = self.sessions().all();
        let mut rows: Vec<_> = here
            .iter()
            .map(|session| self.sessions().live(&session.row()))
            .filter(|row| !live_only || row.phase != Phase::Ended)
            .collect();
        rows.extend(ended.into_iter().map(Arc::new));
        // Ids are UUIDv7: their order is the order of creation. What has just ended is in both.
        rows.sort_by(|a, b| b.id.cmp(&a.id));
        rows.dedup_by(|a, b| a.id == b.id);
        Ok(rows)
    }

    /// Where a session lives on this host.
    ///
    /// # Errors
    /// [`NodeError::Unknown`] among others.
    pub async fn inspect(&self, id: &SessionId) -> Result<Place, NodeError> {
        let row = self.get(id).await?;
        let name = Self::name_of(row.instance);
        let docker = &self.instances().tools().docker;
        // An operator asks this when things are bad: Docker away is an answer, not an error.
        let container = docker.inspect(&name).await.ok().flatten();
        let relay = self.inner.relay.borrow().clone();
        Ok(Place {
            instance: row.instance,
            container_name: container
                .as_ref()
                .map_or_else(String::new, |c| c.name.clone()),
            container_pid: container.as_ref().map_or(0, |c| c.pid),
            container_id: container.map_or_else(String::new, |c| c.id),
            route: row
                .egress
                .map_or_else(|| "direct".to_owned(), |ip| format!("direct {ip}")),
            relay_pid: relay.as_ref().map_or(0, |relay| relay.pid),
            relay_id: relay.map_or_else(String::new, |relay| relay.relay_id),
        })
    }
}

fn same(row: Arc<SessionRow>, spec: &SessionSpec) -> Result<Arc<SessionRow>, NodeError> {
    if row.spec == *spec {
        Ok(row)
    } else {
        Err(NodeError::OtherSpec(row.id.clone()))
    }
}
