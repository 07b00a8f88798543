//! Devices whose Chrome is not all that a browser in a container is: it is found out, shown, and no
//! obstacle to libraries.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::Ordered;
use crate::harness::{Chaser, Client, Library, Origin, Session, eventually, lab, seconds};

const LIBRARIES: [Library; 2] = [Library::Playwright, Library::Patchright];

async fn ready(chaser: &Chaser) -> (Session, Value) {
    let order = json!({ "ttl_seconds": 900, "substrate": "redroid" });
    let made = chaser.api.post("/v1/sessions", &order).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.body);
    let session = chaser.api.adopt(&made.body);
    let ready = session.wait_for("ready").await;
    (session, ready)
}

/// A client that has loaded a page, which came through the session's own address and was metered.
async fn driven(by: Library, session: &Session, ready: &Value, origin: &Origin) -> Client {
    let ip: IpAddr = ready["proxy_ip"].as_str().unwrap().parse().unwrap();
    let before = origin.bytes_of(ip).down;
    let mut client = by.connect(&session.cdp_url).await;
    client.goto(&origin.http("/old")).await;
    assert_eq!(client.evaluate("location.pathname").await, "/old");
    assert!(
        origin.bytes_of(ip).down > before,
        "it came from its address"
    );
    eventually("meter and origin agree", seconds(10), async || {
        let (now, seen) = (session.get().await, origin.bytes_of(ip));
        (now["bytes_up"] == seen.up && now["bytes_down"] == seen.down).then_some(())
    })
    .await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_a_guid_in_its_path_is_driven_like_any() {
    let (lab, origin) = lab();
    let ordered = Ordered::stand_in(&["androidboot.test.guid=none"]);
    let chaser = ordered.on(&lab).start().await;
    let (session, ready) = ready(&chaser).await;
    let all = json!({ "browser_contexts": true, "downloads": true });
    assert_eq!(ready["capabilities"], all, "{ready}");
    for library in LIBRARIES {
        let mut client = driven(library, &session, &ready, &origin).await;
        client.must("new_context", json!({ "options": {} })).await;
        client.goto(&origin.http("/in-a-context")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_makes_no_contexts_is_driven_in_its_own_and_whoever_wants_another_hears_why()
{
    let (lab, origin) = lab();
    let lacks = "androidboot.test.lacks=Target.createBrowserContext";
    let mut chaser = Ordered::stand_in(&[lacks]).on(&lab).start().await;
    let (session, ready) = ready(&chaser).await;
    let found = json!({ "browser_contexts": false, "downloads": true });
    assert_eq!(ready["capabilities"], found, "{ready}");
    for library in LIBRARIES {
        let mut client = driven(library, &session, &ready, &origin).await;
        let refused = client.call("new_context", json!({ "options": {} })).await;
        let why = refused.unwrap_err();
        assert!(why.contains("browser.contexts()[0]"), "{why}");
        // It goes on in the one that is there, and others see the same.
        client.must("new_page", json!({})).await;
        client.goto(&origin.http("/another-page")).await;
    }
    // The journal has it.
    chaser.sigkill();
    chaser.restart().await;
    assert_eq!(session.get().await["capabilities"], found);
}

/// As Chrome on Android was until 2019: refused, this command would keep every client out.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_knows_nothing_of_downloads_keeps_nobody_out() {
    let (lab, origin) = lab();
    let lacks = "androidboot.test.lacks=Target.createBrowserContext+Browser.setDownloadBehavior";
    let ordered = Ordered::stand_in(&["androidboot.test.guid=none", lacks]);
    let chaser = ordered.on(&lab).start().await;
    let (session, ready) = ready(&chaser).await;
    let found = json!({ "browser_contexts": false, "downloads": false });
    assert_eq!(ready["capabilities"], found, "{ready}");
    for library in LIBRARIES {
        driven(library, &session, &ready, &origin).await;
    }
}
