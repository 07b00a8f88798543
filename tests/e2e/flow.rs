//! The documented flow, word for word but for base URL and key.

use serde_json::{Value, json};

use crate::harness::{Chaser, Library, Origin, lab, seconds};

async fn documented_flow(library: Library) {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;

    let answer = chaser
        .api
        .post("/v1/sessions", &json!({ "ttl_seconds": 1800 }))
        .await;
    assert_eq!(answer.status, 201);
    let session = chaser.api.adopt(&answer.body);
    session.wait_for("ready").await;

    let mut client = library.connect(&session.cdp_url).await;
    client.goto(&origin.http("/hello")).await;
    assert_eq!(client.evaluate("document.title").await, "origin");
    let picture = client.must("screenshot", json!({})).await;
    assert!(
        picture.as_str().unwrap().starts_with("iVBORw0KGgo"),
        "a PNG"
    );
    client.must("disconnect", json!({})).await;

    assert_eq!(session.delete().await.status, 204);
    session.delete().await.refused(409, "session_not_open");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_flow_works_with_patchright() {
    documented_flow(Library::Patchright).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_flow_works_with_playwright() {
    documented_flow(Library::Playwright).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_flow_works_with_puppeteer() {
    documented_flow(Library::Puppeteer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_flow_works_with_plain_curl() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let script = r#"
        set -euo pipefail
        auth='Authorization: Bearer sk_test'
        field() { sed -E "s/.*\"$1\": ?\"([^\"]*)\".*/\1/"; }
        session=$(curl -sS -X POST "$BASE/v1/sessions" -H "$auth" \
            -H 'content-type: application/json' -d '{"ttl_seconds":1800}')
        id=$(field id <<<"$session")
        cdp=$(field cdp_url <<<"$session")
        for _ in $(seq 100); do
            status=$(curl -sS "$BASE/v1/sessions/$id" -H "$auth" | field status)
            [ "$status" = ready ] && break
            sleep 0.2
        done
        curl -sS "${cdp/ws:/http:}/json/version"; echo
        for _ in 1 2; do
            curl -sS -o /dev/null -w '%{http_code}\n' -X DELETE "$BASE/v1/sessions/$id" -H "$auth"
        done
    "#;
    let output = tokio::process::Command::new("bash")
        .args(["-c", script])
        .env("BASE", chaser.api.base())
        .env("no_proxy", "*")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    let [version @ .., first, second] = &lines[..] else {
        panic!("{said}{complaint}")
    };
    let version: Value = serde_json::from_str(&version.concat()).unwrap();
    assert!(version["Browser"].as_str().unwrap().starts_with("Chrome/"));
    assert_eq!((*first, *second), ("204", "409"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_object_says_everything_that_is_documented() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let answer = chaser.api.post("/v1/sessions", &json!({})).await;
    let (session, created) = (chaser.api.adopt(&answer.body), answer.body);
    assert_eq!(created["object"], "session");
    assert_eq!(created["ended_reason"], Value::Null);
    let ready = session.wait_for("ready").await;
    let major = ready["device"]
        .as_str()
        .and_then(|device| device.strip_prefix("Android 10 - Chrome "))
        .and_then(|rest| rest.strip_suffix(" (Mobile)"))
        .unwrap_or_else(|| panic!("{}", ready["device"]));
    let answer = chaser.api.http().get(session.version_url()).send().await;
    let version: Value = answer.unwrap().json().await.unwrap();
    assert!(
        version["Browser"]
            .as_str()
            .unwrap()
            .starts_with(&format!("Chrome/{major}.")),
        "{version}"
    );
    for count in ["bytes_up", "bytes_down", "bytes_total"] {
        assert_eq!(ready[count], 0, "{count}");
    }
    for time in ["created_at", "ready_at", "expires_at"] {
        assert!(ready[time].as_str().unwrap().ends_with('Z'), "{time}");
    }
    let ip = ready["proxy_ip"].as_str().unwrap().parse().unwrap();
    assert!(chaser.addresses.contains(&ip));

    session.delete().await;
    let closed = session.get().await;
    assert_eq!(closed["status"], "closed");
    assert_eq!(closed["ended_reason"], "client_delete");
    assert!(closed["ended_at"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_newest_first_in_pages() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let session = chaser.api.create().await;
        session.delete().await;
        ids.insert(0, session.id);
    }
    let first = chaser.api.get("/v1/sessions?limit=2").await.body;
    let shown = |page: &Value| -> Vec<String> {
        let data = page["data"].as_array().unwrap();
        data.iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(first["object"], "list");
    assert_eq!(first["has_more"], true);
    assert_eq!(shown(&first), ids[..2]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let path = format!("/v1/sessions?limit=2&cursor={cursor}");
    let second = chaser.api.get(&path).await.body;
    assert!(shown(&second).contains(&ids[2]));
    assert!(!shown(&second).contains(&ids[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_a_phone_from_its_first_request() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    trust_the_tests_authority(&mut client).await;
    client.goto(&origin.https("/first")).await;
    let seen = origin.requests_of(session.egress_ip().await);
    let first = seen.iter().find(|seen| seen.path == "/first").unwrap();
    let header = |name: &str| first.headers.get(name).map_or("", String::as_str);
    assert!(
        header("user-agent").contains("(Linux; Android 10; K)"),
        "{first:?}"
    );
    assert!(
        header("user-agent").contains(" Mobile Safari/"),
        "{first:?}"
    );
    assert_eq!(header("sec-ch-ua-mobile"), "?1", "{first:?}");
    assert_eq!(header("sec-ch-ua-platform"), "\"Android\"", "{first:?}");
    // A page that says nothing of its viewport is laid out 980 wide, as on every phone.
    let screen = "[screen.width, navigator.maxTouchPoints, innerWidth]";
    assert_eq!(client.evaluate(screen).await, json!([360, 5, 980]));
}

/// Chrome accepts the origin's certificate for as long as this client is there.
pub async fn trust_the_tests_authority(client: &mut crate::harness::Client) {
    let ignore = json!({ "ignore": true });
    client
        .raw_page("Security.setIgnoreCertificateErrors", ignore)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn popups_open_and_are_counted_like_pages() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    for library in [Library::Patchright, Library::Puppeteer] {
        let mut client = library.connect(&session.cdp_url).await;
        client.goto(&origin.http("/opener")).await;
        let script = format!("void window.open('{}')", origin.http("/popup"));
        let popup = client.must("popup", json!({ "script": script })).await;
        assert!(
            popup.as_str().unwrap().starts_with("http"),
            "{library:?}: {popup}"
        );
        opened(&origin, &session).await;
        client.must("disconnect", json!({})).await;
    }
}

async fn opened(origin: &Origin, session: &crate::harness::Session) {
    let ip = session.egress_ip().await;
    crate::harness::eventually("the popup loads", seconds(10), async || {
        let seen = origin.requests_of(ip);
        seen.iter().any(|seen| seen.path == "/popup").then_some(())
    })
    .await;
}
