//! The calls behind the public API.
//!
//! Whatever is begun is finished even if the client that asked has gone: each change runs in a task of
//! its own.

use std::{collections::HashMap, sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio::sync::oneshot;
use tracing::{Instrument, debug, debug_span, warn};

use super::{
    ApiKey, Config, ControlError, Counts, Cursor, KeyHash, Live, Node, NodeError, Order, Page,
    Policy, Record, Sighting, Store, Tokens, Workspace, order::lost,
};
use crate::{
    model::{EndReason, SessionId},
    runtime::{Tasks, wall_now},
    traces::Trace,
};

/// How often a node is asked about one session for one answer: it becomes ready once, and ends once.
const LOOKS: usize = 3;

/// The control plane. Clones share everything.
#[derive(Debug, Clone)]
pub struct Control {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) node: Node,
    pub(super) config: Config,
    pub(super) idle_timeout: Duration,
    pub(super) profiles: Vec<String>,
    pub(super) tokens: Option<Tokens>,
    /// Keys that are stored nowhere.
    configured: HashMap<KeyHash, Workspace>,
    pub(super) counts: Counts,
    /// Orders that were recorded before have nobody any more who offers them.
    started: OffsetDateTime,
    tasks: Tasks,
}

/// What the control plane is built from.
#[derive(Debug)]
pub struct Parts {
    /// Its memory.
    pub store: Store,
    /// Its node.
    pub node: Node,
    /// `[api]`.
    pub config: Config,
    /// The idle limit of sessions.
    pub idle_timeout: Duration,
    /// Device profiles that may be ordered.
    pub profiles: Vec<String>,
    /// What gives each session a token that its CDP clients must show; `None` where its id is enough.
    pub tokens: Option<Tokens>,
    /// Keys that are valid for as long as this process lives, stored nowhere.
    pub keys: Vec<(ApiKey, Workspace)>,
}

/// Who asks, and what its sessions may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose keys it has.
    pub workspace: Workspace,
    /// The workspace's and the key's; each holds.
    pub policies: Vec<Policy>,
}

impl Caller {
    /// What is left of an order.
    #[must_use]
    pub fn narrow(&self, order: Order) -> Order {
        self.policies.iter().fold(order, Order::within)
    }
}

impl Control {
    /// Builds the control plane; [`super::follow`] keeps its records true.
    #[must_use]
    pub fn new(parts: Parts, tasks: &Tasks) -> Self {
        let hashed = |(key, workspace): (ApiKey, Workspace)| (key.hash(), workspace);
        let configured = parts.keys.into_iter().map(hashed).collect();
        let inner = Inner {
            store: parts.store,
            node: parts.node,
            config: parts.config,
            idle_timeout: parts.idle_timeout,
            profiles: parts.profiles,
            tokens: parts.tokens,
            configured,
            counts: Counts::default(),
            started: wall_now(),
            tasks: tasks.clone(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Its memory.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Its node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.inner.node
    }

    /// Its counters.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    pub(super) fn started(&self) -> OffsetDateTime {
        self.inner.started
    }

    /// `[api]`.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Whoever presents a key. Keys are compared by their hashes, so the time that this takes
    /// tells nothing about them.
    ///
    /// # Errors
    /// [`ControlError::Unauthorised`].
    pub async fn caller(&self, presented: &str) -> Result<Caller, ControlError> {
        let key: ApiKey = presented
            .parse()
            .map_err(|_invalid| ControlError::Unauthorised)?;
        let hash = key.hash();
        if let Some(workspace) = self.inner.configured.get(&hash) {
            return Ok(Caller {
                policies: vec![self.inner.store.policy(workspace).await?],
                workspace: workspace.clone(),
            });
        }
        let stored = self.inner.store.caller(hash).await?;
        stored.ok_or(ControlError::Unauthorised)
    }

    /// A session of this workspace, with live bytes where its node answers, and what else that knows.
    ///
    /// # Errors
    /// [`ControlError::SessionNotFound`], also for another workspace's.
    pub async fn get(
        &self,
        owner: &Workspace,
        id: &SessionId,
    ) -> Result<(Record, Live), ControlError> {
        let mut record = self.owned(owner, id).await?;
        for _ in 0..LOOKS {
            if record.status.is_terminal() {
                break;
            }
            let (sighting, live) = match self.inner.node.session(id).await {
                Ok(seen) => seen,
                Err(error) => {
                    debug!(session = %id, %error, "answered from the record");
                    break;
                }
            };
            let was_ready = sighting.ready_at.is_some();
            record = self.observe(sighting).await?.unwrap_or(record);
            // Half of one moment and half of another is no answer.
            if was_ready == record.ready_at.is_some() && !record.status.is_terminal() {
                return Ok((record, live));
            }
        }
        Ok((record, Live::default()))
    }

    /// A page of sessions, with live bytes where their node answers.
    ///
    /// # Errors
    /// [`ControlError::Internal`] only.
    pub async fn list(
        &self,
        owner: &Workspace,
        limit: u32,
        cursor: Option<Cursor>,
    ) -> Result<Page, ControlError> {
        let mut page = self.inner.store.page(owner, limit, cursor).await?;
        if page
            .records
            .iter()
            .all(|record| record.status.is_terminal())
        {
            return Ok(page);
        }
        let sightings = match self.inner.node.sessions(true).await {
            Ok(sightings) => sightings,
            Err(error) => {
                debug!(%error, "listed from the records");
                return Ok(page);
            }
        };
        for sighting in sightings {
            let shown = page
                .records
                .iter_mut()
                .find(|shown| shown.id == sighting.id);
            if let Some(shown) = shown
                && let Some(record) = self.observe(sighting).await?
            {
                *shown = record;
            }
        }
        Ok(page)
    }

    /// Ends a session. Not cancelled with the caller.
    ///
    /// # Errors
    /// [`ControlError::SessionNotOpen`] when something else ended it, however closely before.
    pub async fn delete(&self, owner: &Workspace, id: &SessionId) -> Result<Record, ControlError> {
        let record = self.owned(owner, id).await?;
        if record.status.is_terminal() {
            return Err(ControlError::SessionNotOpen);
        }
        let (this, trace) = (self.clone(), Trace::current());
        self.finish("delete", async move {
            let span = trace.lead(debug_span!("delete", session = %record.id));
            this.end(record).instrument(span).await
        })
        .await
    }

    async fn end(&self, record: Record) -> Result<Record, ControlError> {
        match self
            .inner
            .node
            .teardown(&record.id, EndReason::ClientDelete)
            .await
        {
            Ok(torn) => {
                let record = self.observe(torn.session).await?.unwrap_or(record);
                if torn.won {
                    Ok(record)
                } else {
                    Err(ControlError::SessionNotOpen)
                }
            }
            Err(NodeError::Unknown) => {
                self.observe(lost(&record, None)).await?;
                Err(ControlError::SessionNotOpen)
            }
            Err(error) => Err(ControlError::NodeAway(error)),
        }
    }

    async fn owned(&self, owner: &Workspace, id: &SessionId) -> Result<Record, ControlError> {
        let record = self.inner.store.record(id).await?;
        record
            .filter(|record| record.workspace == *owner)
            .ok_or(ControlError::SessionNotFound)
    }

    /// Folds news into the record and answers it as it is now, `None` where there is none: what was
    /// read before may have been overtaken, so it is this answer that is shown.
    pub(super) async fn observe(&self, news: Sighting) -> Result<Option<Record>, ControlError> {
        let change = self.inner.store.observe(news).await?;
        Ok(change.map(|change| {
            self.inner.counts.changed(&change);
            change.after
        }))
    }

    /// Runs `work` to its end in a task of its own; dropping the answer does not stop it.
    pub(super) async fn finish<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, ControlError>> + Send + 'static,
    ) -> Result<T, ControlError> {
        let (answer, answered) = oneshot::channel();
        self.inner.tasks.spawn(name, |_stop| async move {
            if answer.send(work.await).is_err() {
                warn!(work = name, "the client had gone before its answer");
            }
        });
        answered
            .await
            .unwrap_or_else(|stopped| Err(ControlError::Internal(Box::new(stopped))))
    }
}
