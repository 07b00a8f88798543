//! Devices as a customer orders them: over REST and from a shell.

use std::process::Stdio;

use serde_json::{Value, json};

use super::{DEVICES, Ordered};
use crate::harness::{Chaser, Library, lab, seconds};

/// The order is one that clients know, with one word more; who watches it from a shell sees it come up.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_ordered_over_rest_and_watched_from_a_shell_on_its_way_up() {
    let (lab, origin) = lab();
    let slow = [
        "androidboot.test.boot_delay=5",
        "androidboot.test.adbd_delay=3",
    ];
    let chaser = Ordered::stand_in(&slow).on(&lab).start().await;
    let order = json!({ "ttl_seconds": 900, "substrate": "redroid" });
    let made = chaser.api.post("/v1/sessions", &order).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.body);
    let session = chaser.api.adopt(&made.body);
    let [lines, objects] = [&[][..], &["--json"]].map(|more| {
        chaser
            .command(&[&["session", "watch", &session.id], more].concat())
            .env("CHASER_API_URL", chaser.api.base())
            .env("CHASER_API_KEY", "sk_test")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    });
    let ready = session.wait_for("ready").await;
    let device = ready["device"].as_str().unwrap();
    assert!(device.starts_with("Android 14 - Chrome "), "{ready}");
    assert!(ready["progress"].is_null(), "{ready}");
    let mut client = Library::Playwright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/ordered")).await;
    assert_eq!(session.delete().await.status.as_u16(), 204);

    let said = async |watch: tokio::process::Child| {
        let output = tokio::time::timeout(seconds(10), watch.wait_with_output()).await;
        String::from_utf8(output.unwrap().unwrap().stdout).unwrap()
    };
    let lines = said(lines).await;
    for step in ["adbd: waiting for", "boot: waiting for Android to boot"] {
        assert!(lines.contains(step), "{step}: {lines}");
    }
    assert!(lines.contains("of at most 90 s"), "{lines}");
    let objects = said(objects).await;
    let boot = (objects.lines())
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|seen| seen["progress"]["step"] == "boot");
    let boot = boot.unwrap_or_else(|| panic!("no boot in {objects}"));
    assert_eq!(boot["progress"]["limit_seconds"], 90, "{boot}");
    assert_eq!(boot["status"], "creating", "{boot}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_the_host_cannot_run_is_refused_with_the_hosts_reason_and_never_was() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let status = chaser.node.status().await;
    for (kind, word) in DEVICES
        .into_iter()
        .zip(["emulator", "redroid", "cuttlefish"])
    {
        let mut seen = status.substrates.iter();
        let why = &seen.find(|one| one.substrate() == kind).unwrap().reason;
        let order = json!({ "substrate": word });
        let refused = chaser.api.post("/v1/sessions", &order).await;
        let message = refused.refused(503, "no_capacity");
        assert!(!why.is_empty() && message.contains(why), "{message}: {why}");
        assert_eq!(refused.retry_after.as_deref(), Some("60"));
    }
    let order = json!({ "substrate": "toaster" });
    let refused = chaser.api.post("/v1/sessions", &order).await;
    let message = refused.refused(400, "invalid_request");
    assert!(
        message.contains("`substrate`") && message.contains("redroid"),
        "{message}"
    );
    let listed = chaser.api.get("/v1/sessions").await;
    assert_eq!(listed.body["data"], json!([]));
}
