//! CDP clients: several at once, early ones, rude ones.

use serde_json::json;

use crate::harness::{Cdp, Chaser, Library, eventually, lab, seconds};

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_drive_one_session() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut one = Library::Patchright.connect(&session.cdp_url).await;
    let mut two = Library::Puppeteer.connect(&session.cdp_url).await;
    one.goto(&origin.http("/one")).await;
    // The second hears of where the first has gone, and may ask a page that is just going away.
    let where_it_is = json!({ "script": "location.pathname" });
    eventually("the second sees it as well", seconds(10), async || {
        let seen = two.call("evaluate", where_it_is.clone()).await;
        (seen == Ok(json!("/one"))).then_some(())
    })
    .await;
    two.must("new_page", json!({})).await;
    two.goto(&origin.http("/two")).await;
    assert_eq!(one.evaluate("location.pathname").await, "/one");
    assert_eq!(two.evaluate("location.pathname").await, "/two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_connects_while_creating_is_held_and_let_in() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.create().await;
    assert_eq!(session.get().await["status"], "creating");
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/early")).await;
    assert_eq!(session.get().await["status"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_close_by_one_client_ends_neither_the_other_nor_the_session() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut stays = Library::Patchright.connect(&session.cdp_url).await;
    let mut leaves = Cdp::open(&session.cdp_url).await;

    assert_eq!(leaves.call("Browser.close", json!({})).await, Ok(json!({})));
    leaves.closed(seconds(5)).await;

    stays.goto(&origin.http("/still-here")).await;
    assert!(!stays.was_disconnected());
    assert_eq!(session.get().await["status"], "ready");
    Cdp::open(&session.cdp_url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_kill_the_browser_are_refused() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut cdp = Cdp::open(&session.cdp_url).await;
    for method in ["Browser.crash", "Browser.crashGpuProcess"] {
        let refusal = cdp.call(method, json!({})).await.unwrap_err();
        assert!(!refusal.contains("connection ended"), "{method}: {refusal}");
    }
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/alive")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_inner_pages_of_the_browser_are_blocked() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    for url in [
        "file:///etc/passwd",
        "file:///",
        "chrome://version",
        "view-source:file:///etc/passwd",
    ] {
        let shown = client.attempt(url).await;
        for secret in ["root:", "Index of", "Command Line", "Executable Path"] {
            assert!(!shown.text.contains(secret), "{url} shows {}", shown.text);
        }
        assert!(shown.error.is_some(), "{url} was opened");
        assert_eq!(shown.protocol, "chrome-error:", "{url}");
        client.goto(&origin.http("/next")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_cdp_connection_opens_no_file_either() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut cdp = Cdp::open(&session.cdp_url).await;
    let page = cdp.attach().await;
    for url in ["file:///etc/passwd", "chrome://version"] {
        let navigated = cdp
            .call_in(Some(&page), "Page.navigate", json!({ "url": url }))
            .await;
        let blocked = match &navigated {
            Ok(result) => result["errorText"].is_string(),
            Err(_refused) => true,
        };
        assert!(blocked, "{url}: {navigated:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_with_its_own_proxy_is_refused_by_name() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut cdp = Cdp::open(&session.cdp_url).await;
    for (name, params) in [
        ("proxyServer", json!({ "proxyServer": "127.0.0.1:9222" })),
        ("proxyBypassList", json!({ "proxyBypassList": "127.0.0.1" })),
    ] {
        let refusal = cdp
            .call("Target.createBrowserContext", params)
            .await
            .unwrap_err();
        assert!(
            refusal.contains(name),
            "the refusal names {name}: {refusal}"
        );
    }
    cdp.call("Target.createBrowserContext", json!({}))
        .await
        .unwrap();

    let mut client = Library::Playwright.connect(&session.cdp_url).await;
    let own = json!({ "options": { "proxy": { "server": "http://127.0.0.1:9222" } } });
    let refusal = client.call("new_context", own).await.unwrap_err();
    assert!(refusal.contains("proxyServer"), "{refusal}");
    client.must("new_context", json!({ "options": {} })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_session_is_not_found() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let nobody = format!(
        "ws://{}/sessions/{}",
        chaser.cdp,
        crate::harness::session_id()
    );
    let refused = Cdp::connect(&nobody).await.err().unwrap();
    assert_eq!(refused.status, 404);
    assert_eq!(refused.body["error"]["code"], "session_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_version_leads_back_to_the_gateway() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    for slash in ["", "/"] {
        let url = format!("{}{slash}", session.version_url());
        let answer = chaser.api.http().get(url).send().await.unwrap();
        let version: serde_json::Value = answer.json().await.unwrap();
        let debugger = version["webSocketDebuggerUrl"].as_str().unwrap();
        assert!(debugger.starts_with(&session.cdp_url), "{debugger}");
        let mut cdp = Cdp::open(debugger).await;
        let told = cdp.call("Browser.getVersion", json!({})).await.unwrap();
        assert_eq!(told["product"], version["Browser"]);
    }
}
