//! What every device must do. On a host that can run none this is shown with a stand-in whose adbd and
//! browser are real; `make test-android` shows it with an image that is.

use std::net::IpAddr;

use chaser::wire::node::{Blame, EndReason, Phase};

use super::{Ordered, cdp_url, meter_and_origin_agree};
use crate::harness::{Library, docker, eventually, lab, seconds};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_driven_metered_and_taken_back_like_any_session() {
    let (lab, origin) = lab();
    let ordered = Ordered::from_environment();
    let chaser = ordered.on(&lab).start().await;
    let session = ordered.session(&chaser).await;
    assert!(session.device.starts_with("Android "), "{session:?}");
    assert!(session.device.contains(" - Chrome "), "{session:?}");
    let url = cdp_url(&chaser, &session);
    let ip: IpAddr = session.egress_ip.parse().unwrap();
    for library in [Library::Playwright, Library::Patchright] {
        let mut client = library.connect(&url).await;
        client.goto(&origin.http("/phone")).await;
        assert_eq!(client.evaluate("location.pathname").await, "/phone");
        // Nothing leads past the listener, and the listener leads nowhere near.
        let shown = client.attempt("http://127.0.0.1:5555/").await;
        assert!(!shown.text.contains("CNXN"), "{}", shown.text);
    }
    assert!(origin.bytes_of(ip).down > 0, "it came from its own address");
    meter_and_origin_agree(&chaser, &session, &origin).await;

    let container = chaser.container(&session.id).await;
    let network = docker::inspect(&container, "{{.HostConfig.NetworkMode}}");
    assert_eq!(network, "none");
    let volumes = docker::inspect(&container, "{{range .Mounts}}{{.Name}} {{end}}");
    assert!(!volumes.is_empty(), "its data is a volume of its own");
    let ended = chaser.node.teardown(&session.id).await.unwrap();
    let ended = ended.session.unwrap();
    assert_eq!(ended.end_reason(), EndReason::ClientDelete);
    eventually("its container and data are gone", seconds(30), async || {
        let left = docker::run(&["volume", "ls", "--quiet"]);
        let data = volumes.split_whitespace().any(|name| left.contains(name));
        let containers = docker::containers_of(&chaser.node_id);
        (containers.is_empty() && !data).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_dies_ends_its_session_and_nobody_pays() {
    let (lab, _origin) = lab();
    let ordered = Ordered::from_environment();
    let chaser = ordered.on(&lab).start().await;
    let session = ordered.session(&chaser).await;
    docker::kill(&chaser.container(&session.id).await);
    let ended = eventually("it has ended", seconds(10), async || {
        let seen = chaser.node.session(&session.id).await.unwrap();
        (seen.phase() == Phase::Ended).then_some(seen)
    })
    .await;
    assert_eq!(ended.end_reason(), EndReason::SubstrateDown);
    assert_eq!(ended.failure.unwrap().blame(), Blame::Host);
    assert!(!ended.billable);
}

/// The relay has its own connection to the device.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_is_felt_by_no_client_of_a_device_and_a_killed_relay_comes_back_to_it() {
    let (lab, origin) = lab();
    let ordered = Ordered::from_environment();
    let mut chaser = ordered.on(&lab).start().await;
    let session = ordered.session(&chaser).await;
    let url = cdp_url(&chaser, &session);
    let mut client = Library::Playwright.connect(&url).await;
    chaser.sigkill();
    client.goto(&origin.http("/without-agent")).await;
    assert!(!client.was_disconnected());
    chaser.restart().await;
    client.goto(&origin.http("/with-the-next")).await;

    crate::harness::processes::kill(chaser.relay_pid());
    let mut again = eventually("a client is served again", seconds(20), async || {
        let mut client = Library::Playwright.start();
        let connected = client.call("connect", serde_json::json!({ "url": url }));
        connected.await.ok().map(|_| client)
    })
    .await;
    again.goto(&origin.http("/with-another-relay")).await;
    let seen = chaser.node.session(&session.id).await.unwrap();
    assert_eq!(seen.phase(), Phase::Ready);
}
