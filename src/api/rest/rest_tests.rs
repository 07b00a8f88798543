//! The documented answers, through the router and over a fake node.

use axum::body::Body;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::{
    control::{
        Config,
        fake::{Bench, ended, timestamp},
    },
    wire::node as pb,
};

#[path = "device_tests.rs"]
mod devices;

pub(super) const KEY: &str = "sk_mine";

pub(super) struct Api {
    bench: Bench,
    pub(super) router: Router,
}

struct Answer {
    status: u16,
    headers: axum::http::HeaderMap,
    body: Value,
}

impl Api {
    pub(super) fn start() -> Self {
        Self::with(|_defaults| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            keys: vec![KEY.parse().unwrap()],
            ..Config::default()
        };
        change(&mut config);
        let bench = Bench::start(config);
        let router = router(Rest {
            control: bench.control.clone(),
            display: Display {
                cdp_base: "ws://127.0.0.1:7701".to_owned(),
                tokens: None,
                count_cdp_bytes: false,
            },
        });
        Self { bench, router }
    }

    async fn call(&self, key: &str, method: &str, path: &str, body: &str) -> Answer {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {key}"))
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    async fn post(&self, body: &str) -> Answer {
        self.call(KEY, "POST", "/v1/sessions", body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(KEY, "GET", path, "").await
    }

    /// A session and its path.
    async fn session(&self) -> (String, String) {
        let made = self.post("").await;
        assert_eq!(made.status, 201, "{}", made.body);
        let id = made.body["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/sessions/{id}");
        (id, path)
    }
}

impl Answer {
    /// Asserts a refusal in the documented shape and answers its message.
    fn refused(&self, status: u16, code: &str) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.body["error"]["code"], code);
        let keys: Vec<_> = self.body["error"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["code", "message"]);
        self.body["error"]["message"].as_str().unwrap()
    }
}

#[tokio::test]
async fn the_documented_flow() {
    let api = Api::start();
    let made = api
        .post(r#"{"ttl_seconds":1800,"profile":"default"}"#)
        .await;
    assert_eq!(
        (made.status, &made.body["status"]),
        (201, &"creating".into())
    );
    let id = made.body["id"].as_str().unwrap();
    let url = format!("ws://127.0.0.1:7701/sessions/{id}");
    assert_eq!(made.body["cdp_url"], url);
    assert_eq!(made.body["object"], "session");
    assert_eq!(
        made.body["created_at"].as_str().unwrap().len(),
        "2026-06-13T11:49:20.651182Z".len()
    );
    for null in [
        "device",
        "proxy_ip",
        "proxy_region",
        "ready_at",
        "ended_at",
        "ended_reason",
    ] {
        assert_eq!(made.body.get(null), Some(&Value::Null), "{null}");
    }
    api.bench.node.change(id, |session| {
        session.set_phase(pb::Phase::Ready);
        session.device = "Android 10 - Chrome 156 (Mobile)".to_owned();
        session.ready_at = timestamp(1_781_351_360);
        session.traffic = Some(pb::Traffic {
            up: 5,
            down: 7,
            cdp_up: 1,
            cdp_down: 2,
            connections: 3,
        });
    });
    let path = format!("/v1/sessions/{id}");
    let ready = api.get(&path).await;
    assert_eq!(
        (ready.status, &ready.body["status"]),
        (200, &"ready".into())
    );
    assert_eq!(ready.body["ready_at"], "2026-06-13T11:49:20.123456Z");
    assert_eq!(
        (&ready.body["bytes_total"], &ready.body["cdp_bytes_down"]),
        (&12.into(), &2.into())
    );
    assert_eq!(ready.body["connections"], 3);
    assert_eq!(api.call(KEY, "DELETE", &path, "").await.status, 204);
    let again = api.call(KEY, "DELETE", &path, "").await;
    again.refused(409, "session_not_open");
    let closed = api.get(&path).await;
    assert_eq!(closed.body["status"], "closed");
    assert_eq!(closed.body["ended_reason"], "client_delete");
    assert_eq!(closed.body.get("error"), None);
}

#[tokio::test]
async fn bad_requests_name_the_field_and_what_is_allowed() {
    let api = Api::start();
    for (body, named) in [
        (
            r#"{"ttl_seconds":59}"#,
            "`ttl_seconds` is 59, but must be a whole number from 60 to 3600",
        ),
        (r#"{"ttl_seconds":3601}"#, "60 to 3600"),
        (r#"{"ttl_seconds":"abc"}"#, "`ttl_seconds` is \"abc\""),
        (r#"{"ttl_seconds":60.5}"#, "60.5"),
        (r#"{"ttl_seconds":-1}"#, "-1"),
        (
            r#"{"profile":"nokia"}"#,
            "`profile` must be one of: default, tablet",
        ),
        (r#"{"profile":7}"#, "`profile` is 7, but must be a string"),
        (
            r#"{"ttl":60}"#,
            "unknown field `ttl`; allowed: ttl_seconds, profile, substrate",
        ),
        ("{", "JSON object"),
        ("[]", "JSON object"),
    ] {
        let answer = api.post(body).await;
        let message = answer.refused(400, "invalid_request");
        assert!(message.contains(named), "{message}");
    }
    let oversized = format!(r#"{{"profile":"{}"}}"#, "x".repeat(70_000));
    let answer = api.post(&oversized).await;
    assert!(answer.refused(413, "invalid_request").contains("65536"));
    assert_eq!(
        api.post(r#"{"ttl_seconds":60,"profile":null}"#)
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn keys_paths_and_methods() {
    let api = Api::start();
    let (_, path) = api.session().await;
    for key in ["", "sk_wrong", "mine", "sk_mine2"] {
        for (method, path) in [
            ("POST", "/v1/sessions"),
            ("GET", "/v1/sessions"),
            ("DELETE", &path),
        ] {
            let answer = api.call(key, method, path, "{").await;
            answer.refused(401, "unauthorized");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    let wrong = api.call(KEY, "PATCH", &path, "").await;
    wrong.refused(405, "method_not_allowed");
    assert!(wrong.headers["allow"].to_str().unwrap().contains("DELETE"));
    for path in ["/", "/v2/sessions"] {
        api.get(path).await.refused(404, "not_found");
    }
    for no_id in ["sess_1", "%ff", "a%2Fb", "%00"] {
        let path = format!("/v1/sessions/{no_id}");
        for method in ["GET", "DELETE"] {
            let answer = api.call(KEY, method, &path, "").await;
            answer.refused(404, "session_not_found");
        }
    }
    let other = SessionId::random();
    let unknown = format!("/v1/sessions/{}", other.as_str());
    api.call(KEY, "DELETE", &unknown, "")
        .await
        .refused(404, "session_not_found");
}

#[tokio::test]
async fn another_workspaces_session_is_not_found() {
    let api = Api::start();
    let (_, path) = api.session().await;
    let other: crate::control::ApiKey = "sk_other".parse().unwrap();
    let workspace = "other".parse().unwrap();
    api.bench
        .control
        .store()
        .add_key(&other, &workspace, &crate::control::Policy::default())
        .await
        .unwrap();
    for method in ["GET", "DELETE"] {
        let answer = api.call("sk_other", method, &path, "").await;
        answer.refused(404, "session_not_found");
    }
    let listed = api.call("sk_other", "GET", "/v1/sessions", "").await;
    assert_eq!(listed.body["data"], Value::Array(Vec::new()));
    assert_eq!(api.get(&path).await.status, 200);
}

#[tokio::test]
async fn limits_say_when_to_try_again() {
    let api = Api::with(|config| {
        config.max_concurrent_sessions = 2;
        config.max_creates_per_minute = 3;
    });
    let (_, first) = api.session().await;
    api.session().await;
    let full = api.post("").await;
    full.refused(429, "concurrency_limit");
    assert_eq!(full.headers["retry-after"], "30");
    assert_eq!(api.call(KEY, "DELETE", &first, "").await.status, 204);
    let (_, third) = api.session().await;
    assert_eq!(api.call(KEY, "DELETE", &third, "").await.status, 204);
    let fast = api.post("").await;
    fast.refused(429, "rate_limited");
    let wait: u64 = fast.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((55..=60).contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_node_without_room_is_503_and_leaves_no_record() {
    let api = Api::start();
    *api.bench.node.refusal.lock() = Some(tonic::Status::resource_exhausted("8 of 8 sessions"));
    let answer = api.post("").await;
    assert!(answer.refused(503, "no_capacity").contains("8 of 8"));
    assert!(answer.headers.contains_key("retry-after"));
    let listed = api.get("/v1/sessions").await;
    assert_eq!(listed.body["data"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_session_that_failed_says_why() {
    let api = Api::start();
    let (id, path) = api.session().await;
    api.bench.node.change(&id, |session| {
        ended(session, pb::EndReason::Error);
        session.failure = Some(pb::Failure {
            code: "image_missing".to_owned(),
            message: "run `chaser image build`".to_owned(),
            blame: pb::Blame::Host.into(),
        });
    });
    let failed = api.get(&path).await.body;
    assert_eq!(
        (&failed["status"], &failed["ended_reason"]),
        (&"error".into(), &Value::Null)
    );
    assert_eq!(failed["error"]["code"], "image_missing");
    api.call(KEY, "DELETE", &path, "")
        .await
        .refused(409, "session_not_open");
}

#[tokio::test]
async fn pages_follow_one_another() {
    let api = Api::start();
    let mut made = Vec::new();
    for _ in 0..5 {
        made.insert(0, api.session().await.0);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/sessions?limit=2".to_owned());
    loop {
        let page = api.get(&path).await.body;
        assert_eq!(page["object"], "list");
        let ids = page["data"].as_array().unwrap().iter();
        seen.extend(ids.map(|s| s["id"].as_str().unwrap().to_owned()));
        assert_eq!(page["has_more"], !page["next_cursor"].is_null());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/sessions?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, made);
    api.get("/v1/sessions?limit=101")
        .await
        .refused(400, "invalid_request");
    api.get("/v1/sessions?cursor=x")
        .await
        .refused(400, "invalid_request");
}
