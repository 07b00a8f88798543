//! What the API refuses, and how: always with a code and a sentence that names the culprit.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Chaser, Setup, lab, session_id};

async fn post(api: &Api, body: &str) -> Answer {
    api.call(Method::POST, "/v1/sessions", Some(body.to_owned()))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_make_no_sense_are_refused_by_the_name_of_the_field() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    for (body, named) in [
        (json!({ "ttl_seconds": 59 }), "ttl_seconds"),
        (json!({ "ttl_seconds": 3601 }), "ttl_seconds"),
        (json!({ "ttl_seconds": -1 }), "ttl_seconds"),
        (json!({ "ttl_seconds": 60.5 }), "ttl_seconds"),
        (json!({ "ttl_seconds": "abc" }), "ttl_seconds"),
        (json!({ "profile": "nokia_3310" }), "profile"),
        (json!({ "profile": 7 }), "profile"),
        (json!({ "ttl_second": 60 }), "ttl_second"),
    ] {
        let answer = post(&chaser.api, &body.to_string()).await;
        let message = answer.refused(400, "invalid_request");
        assert!(message.contains(named), "{body}: {message}");
    }
    for body in ["{", "[]", "null", "\"text\"", "{\"ttl_seconds\":60}}"] {
        post(&chaser.api, body)
            .await
            .refused(400, "invalid_request");
    }
    let listed = chaser.api.get("/v1/sessions").await;
    let listed = listed.body["data"].to_string();
    assert!(!listed.contains("creating"), "nothing was made: {listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_a_lifetime_themselves_are_accepted() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    for body in [
        r#"{"ttl_seconds":60}"#,
        r#"{"ttl_seconds":3600,"profile":"default"}"#,
        "{}",
        "",
    ] {
        let answer = post(&chaser.api, body).await;
        assert_eq!(answer.status, 201, "{body}: {}", answer.body);
        assert_eq!(chaser.api.adopt(&answer.body).delete().await.status, 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_body_is_refused_unread() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let body = json!({ "profile": "x".repeat(4 << 20) }).to_string();
    let answer = post(&chaser.api, &body).await;
    assert!(
        [400, 413].contains(&answer.status.as_u16()),
        "{}",
        answer.body
    );
    assert!(
        answer.body["error"]["message"].is_string(),
        "{}",
        answer.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_key_is_unauthorised_everywhere() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let path = format!("/v1/sessions/{}", session_id());
    for key in ["sk_wrong", "sk_tes", "sk_test2", "", "test"] {
        let api = chaser.api.with_key(key);
        for method in [Method::GET, Method::DELETE] {
            api.call(method, &path, None)
                .await
                .refused(401, "unauthorized");
        }
        api.get("/v1/sessions").await.refused(401, "unauthorized");
        post(&api, "{}").await.refused(401, "unauthorized");
    }
    let keyless = chaser
        .api
        .http()
        .get(format!("{}/v1/sessions", chaser.api.base()));
    assert_eq!(keyless.send().await.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_methods_paths_and_ids_have_the_documented_shape() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let shaped = |answer: &Answer| {
        let error = &answer.body["error"];
        assert!(
            error["code"].is_string() && error["message"].is_string(),
            "{}",
            answer.body
        );
    };
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let answer = chaser.api.call(method, "/v1/sessions", None).await;
        assert_eq!(answer.status, 405);
        shaped(&answer);
    }
    let nowhere = chaser.api.get("/v1/nowhere").await;
    assert_eq!(nowhere.status, 404);
    shaped(&nowhere);
    for id in [session_id(), "sess_1".to_owned(), "..%2f..".to_owned()] {
        let path = format!("/v1/sessions/{id}");
        chaser
            .api
            .get(&path)
            .await
            .refused(404, "session_not_found");
        let gone = chaser.api.call(Method::DELETE, &path, None).await;
        gone.refused(404, "session_not_found");
    }
    for query in ["limit=0", "limit=101", "limit=many", "cursor=%00"] {
        let answer = chaser.api.get(&format!("/v1/sessions?{query}")).await;
        let message = answer.refused(400, "invalid_request");
        assert!(
            message.contains(query.split('=').next().unwrap()),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_workspace_sees_nothing() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.create().await;
    let made = chaser
        .command(&["key", "create", "--workspace", "other", "--state-dir"])
        .arg(chaser.state_dir.join("S"))
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(made.stdout).unwrap();
    let key = said
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .find(|word| word.starts_with("sk_"))
        .unwrap_or_else(|| panic!("no key: {said}{}", String::from_utf8_lossy(&made.stderr)));
    let other = chaser.api.with_key(key);
    let listed = other.get("/v1/sessions").await;
    assert_eq!(listed.body["data"], json!([]), "{}", listed.body);
    let path = format!("/v1/sessions/{}", session.id);
    other.get(&path).await.refused(404, "session_not_found");
    let delete = other.call(Method::DELETE, &path, None).await;
    delete.refused(404, "session_not_found");
    assert_ne!(session.get().await["status"], "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_a_workspace_answer_429_and_say_when_to_try_again() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab)
        .set("api", "max_creates_per_minute = 3")
        .without("--max-creates-per-minute")
        .start()
        .await;
    for _ in 0..3 {
        chaser.api.create().await.delete().await;
    }
    let fourth = post(&chaser.api, "{}").await;
    fourth.refused(429, "rate_limited");
    let seconds: u64 = fourth.retry_after.unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_workspace_and_a_full_host_are_told_apart() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab)
        .without("--max-sessions")
        .set("api", "max_concurrent_sessions = 2")
        .egress_addresses(1)
        .start()
        .await;
    let held = chaser.api.ready_session().await;
    let no_address = post(&chaser.api, "{}").await;
    no_address.refused(503, "no_capacity");
    assert!(no_address.retry_after.is_some());
    held.delete().await;

    // The address is back with the end of its session.
    let next = chaser.api.ready_session().await;
    assert_eq!(next.get().await["status"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_at_its_limit_is_refused_until_a_session_ends() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab)
        .without("--max-sessions")
        .set("api", "max_concurrent_sessions = 1")
        .start()
        .await;
    let held = chaser.api.create().await;
    let second = post(&chaser.api, "{}").await;
    second.refused(429, "concurrency_limit");
    assert!(second.retry_after.is_some());
    held.delete().await;
    assert_eq!(post(&chaser.api, "{}").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_answer_without_a_key() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    for probe in ["livez", "readyz"] {
        let url = format!("{}/{probe}", chaser.admin);
        assert_eq!(
            chaser.api.http().get(url).send().await.unwrap().status(),
            200
        );
    }
    assert!(chaser.metrics().await.contains("# TYPE chaser_"));
    let session = chaser.api.ready_session().await;
    let text = chaser.metrics().await + &chaser.logs();
    assert!(
        !text.contains(&session.id),
        "ids are capabilities: none in metrics or logs"
    );
    assert!(!text.contains("sk_test"), "nor keys");
    let shown = Value::from(session.id.clone());
    assert!(session.get().await["id"] == shown);
}
