//! Probes and metrics, on a listener of their own.
//!
//! `/v1/node` says what an autoscaler wants to know: whether the host may go, and what room it has.
//!
//! Three questions, three answers: `/livez` says whether the process turns its wheels, `/readyz`
//! whether sessions can be ordered, and the capacity in its body (and in `/metrics`) whether there is
//! room. A full host is alive and ready.

mod metrics;
mod operations;
mod pool;
mod routes;
mod sessions;
mod steps;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::http;
use crate::{
    control::{Control, Node},
    runtime::Tasks,
    tls::Shown,
    wire::node as pb,
};
use metrics::Metrics;

/// A probe that waits longer than this is a failed probe.
const PATIENCE: Duration = Duration::from_secs(1);

/// `[admin]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where probes and metrics are served.
    pub listen: SocketAddr,
    /// Where `chaser node` serves them, which may run beside a `chaser api` on one configuration.
    pub node_listen: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7703)),
            node_listen: SocketAddr::from(([127, 0, 0, 1], 7704)),
        }
    }
}

#[derive(Debug, Clone)]
struct Admin {
    node: Node,
    control: Option<Control>,
    metrics: Metrics,
}

/// Serves probes and metrics of a node, and of the control plane in front of it where this process
/// has one, until the tasks are asked to stop; `shown` is what other listeners show.
pub fn serve(
    listener: TcpListener,
    (node, control): (Node, Option<Control>),
    shown: Shown,
    tasks: &Tasks,
) {
    let router = router(node, control, shown);
    http::serve("admin", (listener, None), router, tasks);
}

fn router(node: Node, control: Option<Control>, shown: Shown) -> Router {
    let metrics = Metrics::new(control.as_ref().map(Control::counts), shown);
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .route("/v1/node", get(about_node))
        .with_state(Admin {
            node,
            control,
            metrics,
        })
}

impl Admin {
    async fn node(&self) -> Result<pb::GetNodeResponse, String> {
        match tokio::time::timeout(PATIENCE, self.node.status()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err("the node does not answer".to_owned()),
        }
    }

    /// Why the control plane cannot work.
    async fn database(&self) -> Result<(), String> {
        let Some(control) = &self.control else {
            return Ok(());
        };
        let asked = control.store().has_keys().await;
        asked.map(drop).map_err(|error| error.to_string())
    }
}

async fn ready(State(admin): State<Admin>) -> Response {
    let database = admin.database().await;
    let node = admin.node().await;
    let (status, body) = match (database, node) {
        (Ok(()), Ok(node)) => readiness(&node),
        (Err(reason), _) | (_, Err(reason)) => not_ready(&reason),
    };
    (status, Json(body)).into_response()
}

/// What an autoscaler asks before it takes a host away, or adds one.
async fn about_node(State(admin): State<Admin>) -> Response {
    match admin.node().await {
        Ok(node) => Json(for_autoscalers(&node)).into_response(),
        Err(reason) => {
            let error = json!({ "code": "unavailable", "message": reason });
            let body = Json(json!({ "error": error }));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

fn for_autoscalers(node: &pb::GetNodeResponse) -> Value {
    let operations = node.operations.as_ref();
    let capacity = operations.and_then(|of| of.capacity).unwrap_or_default();
    json!({
        "object": "node",
        "id": node.node_id,
        "ready": node.state() == pb::NodeState::Ready,
        "draining": capacity.draining,
        "safe_to_terminate": capacity.safe_to_terminate,
        "sessions": node.creating + node.ready + node.closing,
        "slots": capacity.slots,
        "free": capacity.free,
        "free_warm": capacity.free_warm,
        "pending_claims": capacity.pending_claims,
    })
}

/// Shows a time that is counted elsewhere.
fn show_seconds(counter: &Counter<f64, AtomicU64>, seconds: f64) {
    counter.inner().store(seconds.to_bits(), Ordering::Relaxed);
}

fn not_ready(reason: &str) -> (StatusCode, Value) {
    let body = json!({ "ready": false, "reason": reason });
    (StatusCode::SERVICE_UNAVAILABLE, body)
}

/// Readiness and capacity of a node that answers.
fn readiness(node: &pb::GetNodeResponse) -> (StatusCode, Value) {
    let (status, mut body) = match node.state() {
        pb::NodeState::Ready => (StatusCode::OK, json!({ "ready": true })),
        pb::NodeState::Starting if node.state_reason.is_empty() => not_ready("starting"),
        pb::NodeState::Starting | pb::NodeState::NotReady | pb::NodeState::Unspecified => {
            not_ready(&node.state_reason)
        }
    };
    let used = occupied(node);
    body["capacity"] = json!({
        "max_sessions": node.max_sessions,
        "used": used,
        "free": node.max_sessions.saturating_sub(used),
    });
    (status, body)
}

/// What takes room on the host; what is being removed still does.
fn occupied(node: &pb::GetNodeResponse) -> u32 {
    node.creating + node.ready + node.closing + node.destroying
}

async fn scrape(State(admin): State<Admin>) -> Response {
    let node = admin.node().await.ok();
    // Without a node there are none; a node that is starting knows none yet.
    let sessions = tokio::time::timeout(PATIENCE, admin.node.live()).await;
    let sessions = sessions.map_or_else(|_slow| Vec::new(), Result::unwrap_or_default);
    match admin.metrics.render(node.as_ref(), &sessions) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tower::ServiceExt;

    use super::*;
    use crate::control::{Workspace, fake::Bench};

    async fn call(router: &Router, path: &str) -> (u16, String) {
        let request = axum::http::Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_full_host_is_ready_and_a_silent_node_is_alive() {
        let bench = Bench::start(crate::control::Config::default());
        let node = bench.control.node().clone();
        let router = router(
            node,
            Some(bench.control.clone()),
            tokio::sync::watch::channel(None).1,
        );
        let order = bench.control.order(None, None).unwrap();
        let created = bench.control.create(Workspace::standard(), order).await;
        created.unwrap();
        let (status, body) = call(&router, "/readyz").await;
        assert_eq!(status, 200);
        assert!(body.contains(r#""free":7"#), "{body}");
        let (status, text) = call(&router, "/metrics").await;
        assert_eq!(status, 200);
        for line in [
            "chaser_sessions_created_total 1",
            "chaser_node_sessions{phase=\"ready\"} 1",
            "chaser_node_sessions_max 8",
            "chaser_node_up 1",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        bench.tasks.drain(Duration::from_secs(5)).await.unwrap();
        assert_eq!(call(&router, "/livez").await.0, 200);
        assert_eq!(call(&router, "/readyz").await.0, 503);
        let (_, text) = call(&router, "/metrics").await;
        assert!(text.contains("chaser_node_up 0"), "{text}");
    }
}
