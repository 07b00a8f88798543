//! Orders: checked, recorded, placed.
//!
//! ```text
//!   checked ─▶ admitted and durable ─▶ offered to the node ─▶ taken: answered
//!                                          ├─▶ refused: forgotten, as if it had never been
//!                                          └─▶ fate unknown: `error`; the follower clears up
//! ```

use std::{collections::BTreeMap, time::Duration};

use tracing::{Instrument, Span, debug, debug_span, field};

use super::{
    Control, ControlError, Limits, NodeError, Policy, Record, Sighting, Status, Workspace,
    store::NewSession,
};
use crate::{
    model::{Blame, EgressWish, EndReason, Failure, Phase, SessionId, SessionSpec, Substrate},
    runtime::wall_now,
    traces::Trace,
};

/// How long an order is offered to a node that does not answer, such as one that restarts.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// A host that cannot run what was ordered is not asked again before somebody may have changed that.
const RECONFIGURED: Duration = Duration::from_secs(60);
/// The longest that the answer to an order is held back for its session to be ready.
const WAIT: Duration = Duration::from_secs(30);

/// What a client asked for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    ttl: Duration,
    profile: String,
    substrate: Substrate,
    egress: EgressWish,
    wait: bool,
}

impl Order {
    /// With this asked of the way out.
    #[must_use]
    pub fn leaving(self, egress: EgressWish) -> Self {
        Self { egress, ..self }
    }

    /// On this kind of device instead of a browser in a container.
    #[must_use]
    pub fn on(self, substrate: Substrate) -> Self {
        Self { substrate, ..self }
    }

    /// Within what this policy lets through.
    #[must_use]
    pub fn within(self, policy: &Policy) -> Self {
        let egress = policy.narrow(self.egress);
        Self { egress, ..self }
    }

    /// To be answered when its session is ready, instead of at once.
    #[must_use]
    pub fn waiting(self) -> Self {
        Self { wait: true, ..self }
    }
}

impl Control {
    /// Checks what a client asked for; `None` is the default.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] names the field and what is allowed.
    pub fn order(
        &self,
        ttl_seconds: Option<u64>,
        profile: Option<String>,
    ) -> Result<Order, ControlError> {
        let config = &self.inner.config;
        let ttl = ttl_seconds.map_or(config.ttl_default, Duration::from_secs);
        if !(config.ttl_min..=config.ttl_max).contains(&ttl) {
            return Err(self.invalid_ttl(&ttl.as_secs().to_string()));
        }
        let profile = profile.unwrap_or_else(|| "default".to_owned());
        let known = &self.inner.profiles;
        if !known.contains(&profile) {
            return Err(ControlError::Invalid {
                field: "profile".to_owned(),
                problem: format!("must be one of: {}", known.join(", ")),
            });
        }
        Ok(Order {
            ttl,
            profile,
            substrate: Substrate::default(),
            egress: EgressWish::default(),
            wait: false,
        })
    }

    /// The refusal of a `ttl_seconds`, whatever it was.
    #[must_use]
    pub fn invalid_ttl(&self, given: &str) -> ControlError {
        let config = &self.inner.config;
        ControlError::Invalid {
            field: "ttl_seconds".to_owned(),
            problem: format!(
                "is {given}, but must be a whole number from {} to {}",
                config.ttl_min.as_secs(),
                config.ttl_max.as_secs()
            ),
        }
    }

    /// Creates a session; one whose order waits is answered when it is ready or has ended, at the latest
    /// after half a minute. Not cancelled with the caller.
    ///
    /// # Errors
    /// [`ControlError`] for limits, capacity and failures.
    pub async fn create(&self, workspace: Workspace, order: Order) -> Result<Record, ControlError> {
        let (this, wait, trace) = (self.clone(), order.wait, Trace::current());
        let placed = self
            .finish("create", async move {
                let span = trace.lead(debug_span!("order", session = field::Empty));
                this.place(workspace, order).instrument(span).await
            })
            .await;
        let (record, spec) = placed?;
        if wait && record.status == Status::Creating {
            return self.settled(record, &spec).await;
        }
        Ok(record)
    }

    /// The record once its session is ready or has ended, or as it is when that takes too long. The
    /// order is repeated, which is harmless, because the node answers a waiting one then.
    async fn settled(&self, record: Record, spec: &SessionSpec) -> Result<Record, ControlError> {
        match self.inner.node.settled(&record.id, spec, WAIT).await {
            Ok(sighting) => Ok(self.observe(sighting).await?.unwrap_or(record)),
            Err(error) => {
                debug!(session = %record.id, %error, "answered before it was ready");
                Ok(self.inner.store.record(&record.id).await?.unwrap_or(record))
            }
        }
    }

    async fn place(
        &self,
        workspace: Workspace,
        order: Order,
    ) -> Result<(Record, SessionSpec), ControlError> {
        let config = &self.inner.config;
        let limits = Limits {
            concurrent: config.max_concurrent_sessions,
            per_minute: config.max_creates_per_minute,
        };
        let new = NewSession {
            id: SessionId::random(),
            workspace,
            profile: order.profile.clone(),
            ttl: order.ttl,
            created_at: wall_now(),
        };
        Span::current().record("session", field::display(&new.id));
        let admit = self.inner.store.admit(new, limits);
        let record = admit.instrument(debug_span!("admit")).await?;
        let spec = SessionSpec {
            substrate: order.substrate,
            profile: order.profile,
            ttl: order.ttl,
            idle_timeout: self.inner.idle_timeout,
            labels: BTreeMap::new(),
            cdp_token: self
                .inner
                .tokens
                .as_ref()
                .map(|tokens| tokens.of(&record.id)),
            egress: order.egress,
        };
        let offer = self.offer(&record.id, &spec);
        match offer.instrument(debug_span!("offer")).await {
            Ok(sighting) => {
                self.inner.counts.created();
                let noted = self.observe(sighting);
                let noted = noted.instrument(debug_span!("record")).await?;
                let record = noted.unwrap_or(record);
                Ok((record, spec))
            }
            Err(error) => Err(self.give_up(&record, error).await),
        }
    }

    /// Offers an order until the node takes or refuses it; the id makes repeats harmless.
    async fn offer(&self, id: &SessionId, spec: &SessionSpec) -> Result<Sighting, NodeError> {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.inner.node.provision(id, spec).await {
                Err(NodeError::Away(_)) if tokio::time::Instant::now() < until => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    /// An order that was refused never was; one whose fate is unknown is an error, and the follower
    /// tears down what the node may have made of it.
    async fn give_up(&self, record: &Record, error: NodeError) -> ControlError {
        let id = &record.id;
        debug!(session = %id, %error, "order not taken");
        let refused = match &error {
            NodeError::Full { .. } | NodeError::Invalid(_) | NodeError::Cannot(_) => true,
            NodeError::Away(_)
            | NodeError::Silent(_)
            | NodeError::Unknown
            | NodeError::Address(_)
            | NodeError::Broken(_) => false,
        };
        let noted = if refused {
            self.inner.store.discard(id).await.map_err(Into::into)
        } else {
            let failure = Failure {
                code: "node_unavailable".to_owned(),
                message: error.to_string(),
                blame: Blame::Agent,
            };
            self.observe(lost(record, Some(failure))).await.map(drop)
        };
        if let Err(error) = noted {
            return error;
        }
        match error {
            NodeError::Full { said, retry_after } => ControlError::no_capacity(said, retry_after),
            NodeError::Cannot(said) => ControlError::no_capacity(said, Some(RECONFIGURED)),
            NodeError::Away(said) => ControlError::no_capacity(said, None),
            NodeError::Silent(_) => ControlError::no_capacity(error.to_string(), None),
            NodeError::Invalid(problem) => ControlError::Invalid {
                field: "request".to_owned(),
                problem,
            },
            NodeError::Unknown | NodeError::Address(_) | NodeError::Broken(_) => {
                ControlError::Internal(Box::new(error))
            }
        }
    }
}

/// The end of a session that its node knows nothing of.
pub(super) fn lost(record: &Record, failure: Option<Failure>) -> Sighting {
    let was_ready = record.ready_at.is_some();
    let failure = failure.or_else(|| {
        (!was_ready).then(|| Failure {
            code: "node_lost_session".to_owned(),
            message: "the node does not know the session any more".to_owned(),
            blame: Blame::Host,
        })
    });
    let reason = if was_ready {
        EndReason::SubstrateDown
    } else {
        EndReason::Error
    };
    Sighting {
        id: record.id.clone(),
        phase: Phase::Ended,
        reason: Some(reason),
        failure,
        device: None,
        traffic: record.traffic,
        egress_ip: None,
        egress_region: None,
        ready_at: None,
        ended_at: Some(wall_now()),
        billable: false,
    }
}
