//! Android devices, as they are ordered and shown.

use super::*;

#[tokio::test]
async fn a_device_is_ordered_by_its_kind_and_what_the_node_cannot_run_is_refused_at_once() {
    let api = Api::start();
    for (body, kind) in [
        (r"{}", pb::Substrate::Chromium),
        (r#"{"substrate":null}"#, pb::Substrate::Chromium),
        (r#"{"substrate":"redroid"}"#, pb::Substrate::Redroid),
    ] {
        let made = api.post(body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let sessions = api.bench.node.sessions.lock();
        let spec = sessions[made.body["id"].as_str().unwrap()].spec.clone();
        assert_eq!(spec.unwrap().substrate(), kind);
    }
    let refused = api.post(r#"{"substrate":7}"#).await;
    assert!(
        refused
            .refused(400, "invalid_request")
            .contains("cuttlefish")
    );
    let why = tonic::Status::failed_precondition("no binder");
    *api.bench.node.refusal.lock() = Some(why);
    let refused = api.post(r#"{"substrate":"redroid"}"#).await;
    assert!(refused.refused(503, "no_capacity").contains("no binder"));
    assert_eq!(refused.headers["retry-after"], "60");
}

#[tokio::test]
async fn a_session_on_its_way_up_says_how_far_it_is() {
    let api = Api::start();
    let (id, path) = api.session().await;
    api.bench.node.change(&id, |session| {
        session.progress = Some(pb::Progress {
            step: "boot".to_owned(),
            doing: "waiting for Android to boot".to_owned(),
            since: timestamp(1_800_000_000),
            limit: Some(prost_types::Duration {
                seconds: 90,
                nanos: 0,
            }),
        });
    });
    let progress = &api.get(&path).await.body["progress"];
    assert_eq!(progress["step"], "boot");
    assert_eq!(progress["since"], "2027-01-15T08:00:00.123456Z");
    assert_eq!(progress["limit_seconds"], 90);
}

#[tokio::test]
async fn a_device_that_is_ready_says_what_its_browser_can_do() {
    let api = Api::start();
    let (id, path) = api.session().await;
    assert!(api.get(&path).await.body.get("capabilities").is_none());
    api.bench.node.change(&id, |session| {
        session.capabilities = Some(pb::Capabilities {
            browser_contexts: false,
            downloads: true,
        });
    });
    let capabilities = &api.get(&path).await.body["capabilities"];
    assert_eq!(
        capabilities,
        &json!({ "browser_contexts": false, "downloads": true })
    );
}
