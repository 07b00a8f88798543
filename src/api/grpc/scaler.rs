//! KEDA's external scaler, for this node as a pool of one.
//!
//! | `scalerMetadata` | what |
//! |---|---|
//! | `metric` | `sessions` (ordered and not ended, the default), `pending_claims`, or `utilization` (percent of the slots) |
//! | `target` | how much of it one replica should have; default: four fifths of the slots, 1, or 80 |
//!
//! A node is active while any session lives: a drained one with nothing left is not, and KEDA may take it
//! away. Integers are filled beside the floats, for older KEDAs: rounded up, so that little is not nothing.

use std::{collections::HashMap, pin::Pin};

use futures::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Door, validate};
use crate::{
    node::{Capacity, Node},
    wire::scaler::{self as pb, external_scaler_server::ExternalScaler},
};

/// One node for KEDA.
#[derive(Debug)]
pub(super) struct Scaler {
    door: Door,
    stop: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    Sessions,
    PendingClaims,
    Utilization,
}

/// What a scaled object asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Wanted {
    metric: Metric,
    target: Option<f64>,
}

impl Metric {
    const ALL: [Self; 3] = [Self::Sessions, Self::PendingClaims, Self::Utilization];

    /// The word in `scalerMetadata`.
    const fn word(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::PendingClaims => "pending_claims",
            Self::Utilization => "utilization",
        }
    }

    /// Its name toward Kubernetes.
    const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "chaser_sessions",
            Self::PendingClaims => "chaser_pending_claims",
            Self::Utilization => "chaser_utilization",
        }
    }

    fn value(self, capacity: Capacity) -> f64 {
        match self {
            Self::Sessions => capacity.sessions.into(),
            Self::PendingClaims => capacity.pending_claims.into(),
            Self::Utilization => {
                let slots = f64::from(capacity.slots.max(1));
                f64::from(capacity.sessions) / slots * 100.0
            }
        }
    }

    fn default_target(self, capacity: Capacity) -> f64 {
        match self {
            Self::Sessions => (f64::from(capacity.slots) * 0.8).max(1.0),
            Self::PendingClaims => 1.0,
            Self::Utilization => 80.0,
        }
    }
}

impl Wanted {
    fn of(metadata: &HashMap<String, String>) -> Result<Self, Status> {
        let metric = match metadata.get("metric") {
            None => Metric::Sessions,
            Some(word) => (Metric::ALL.into_iter())
                .find(|metric| metric.word() == word)
                .ok_or_else(|| {
                    let allowed = "`sessions`, `pending_claims` or `utilization`";
                    validate::invalid("scalerMetadata.metric", allowed)
                })?,
        };
        let target = match metadata.get("target") {
            None => None,
            Some(text) => {
                let number = text.parse::<f64>().ok();
                let number = number.filter(|number| number.is_finite() && *number > 0.0);
                let wrong = || validate::invalid("scalerMetadata.target", "a number above 0");
                Some(number.ok_or_else(wrong)?)
            }
        };
        Ok(Self { metric, target })
    }

    fn target(self, capacity: Capacity) -> f64 {
        let default = || self.metric.default_target(capacity);
        self.target.unwrap_or_else(default)
    }
}

const fn is_active(capacity: Capacity) -> bool {
    capacity.sessions > 0
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "as large as an integer can be is large enough"
)]
const fn rounded_up(value: f64) -> i64 {
    value.ceil() as i64
}

impl Scaler {
    pub(super) const fn new(door: Door, stop: CancellationToken) -> Self {
        Self { door, stop }
    }
}

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    async fn is_active(
        &self,
        request: Request<pb::ScaledObjectRef>,
    ) -> Result<Response<pb::IsActiveResponse>, Status> {
        Wanted::of(&request.into_inner().scaler_metadata)?;
        let result = is_active(self.door.node()?.capacity());
        Ok(Response::new(pb::IsActiveResponse { result }))
    }

    type StreamIsActiveStream =
        Pin<Box<dyn Stream<Item = Result<pb::IsActiveResponse, Status>> + Send>>;

    async fn stream_is_active(
        &self,
        request: Request<pb::ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        Wanted::of(&request.into_inner().scaler_metadata)?;
        let changes = changes(self.door.node()?);
        let told = changes.map(|result| Ok(pb::IsActiveResponse { result }));
        let told = told.take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(Box::pin(told)))
    }

    async fn get_metric_spec(
        &self,
        request: Request<pb::ScaledObjectRef>,
    ) -> Result<Response<pb::GetMetricSpecResponse>, Status> {
        let wanted = Wanted::of(&request.into_inner().scaler_metadata)?;
        let target = wanted.target(self.door.node()?.capacity());
        let spec = pb::MetricSpec {
            metric_name: wanted.metric.name().to_owned(),
            target_size: rounded_up(target),
            target_size_float: target,
        };
        Ok(Response::new(pb::GetMetricSpecResponse {
            metric_specs: vec![spec],
        }))
    }

    async fn get_metrics(
        &self,
        request: Request<pb::GetMetricsRequest>,
    ) -> Result<Response<pb::GetMetricsResponse>, Status> {
        let request = request.into_inner();
        let object = request.scaled_object_ref.unwrap_or_default();
        let wanted = Wanted::of(&object.scaler_metadata)?;
        let name = wanted.metric.name();
        if request.metric_name != name {
            let said = format!("the metric of this object is `{name}`");
            return Err(Status::not_found(said));
        }
        let value = wanted.metric.value(self.door.node()?.capacity());
        let value = pb::MetricValue {
            metric_name: name.to_owned(),
            metric_value: rounded_up(value),
            metric_value_float: value,
        };
        Ok(Response::new(pb::GetMetricsResponse {
            metric_values: vec![value],
        }))
    }
}

/// Whether the node is active: now, and each time that it is otherwise.
fn changes(node: Node) -> impl Stream<Item = bool> + Send {
    let numbers = node.hub().numbers();
    stream::unfold(
        (node, numbers, None),
        |(node, mut numbers, told)| async move {
            loop {
                numbers.borrow_and_update();
                let active = is_active(node.capacity());
                if told != Some(active) {
                    return Some((active, (node, numbers, Some(active))));
                }
                numbers.changed().await.ok()?;
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Capacity = Capacity {
        safe_to_terminate: false,
        sessions: 3,
        slots: 8,
        free: 5,
        free_warm: 1,
        pending_claims: 1,
        draining: false,
    };

    fn wanted(pairs: &[(&str, &str)]) -> Result<Wanted, Status> {
        let pairs = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Wanted::of(&pairs.collect())
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (key, value) in [
            ("metric", "cpu"),
            ("target", "0"),
            ("target", "-1"),
            ("target", "NaN"),
            ("target", "inf"),
            ("target", "many"),
        ] {
            let refused = wanted(&[(key, value)]).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument);
            assert!(refused.message().contains(key), "{refused}");
        }
        // KEDA hands on whatever a trigger has.
        wanted(&[("scalerAddress", "node:7702"), ("metric", "sessions")]).unwrap();
    }

    #[test]
    fn values_and_targets_are_of_the_metric_that_is_asked_for() {
        for (metric, value, target) in [
            ("sessions", 3.0, 6.4),
            ("pending_claims", 1.0, 1.0),
            ("utilization", 37.5, 80.0),
        ] {
            let wanted = wanted(&[("metric", metric)]).unwrap();
            assert!((wanted.metric.value(BUSY) - value).abs() < 1e-9, "{metric}");
            assert!((wanted.target(BUSY) - target).abs() < 1e-9, "{metric}");
        }
        let own = wanted(&[("target", "2.5")]).unwrap();
        assert!((own.target(BUSY) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_little_is_not_nothing() {
        assert_eq!([0.0, 0.1, 3.0, 37.5].map(rounded_up), [0, 1, 3, 38]);
        let empty = Capacity {
            sessions: 0,
            ..BUSY
        };
        assert!(is_active(BUSY) && !is_active(empty));
    }
}
