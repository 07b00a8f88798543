//! Devices that were booted before anybody ordered them.

use std::collections::BTreeSet;

use chaser::wire::node::PoolProfile;
use serde_json::{Value, json};

use super::Ordered;
use crate::harness::{
    Answer, Chaser, Library, Session, android_like, docker, eventually, lab, seconds,
};

/// A boot that nobody could take for a claim.
const SLOW: [&str; 1] = ["androidboot.test.boot_delay=5"];

pub(super) async fn pool(chaser: &Chaser) -> PoolProfile {
    let mut pool = chaser.node.status().await.pool;
    assert_eq!(pool.len(), 1, "{pool:?}");
    assert_eq!(pool[0].profile, "redroid");
    pool.remove(0)
}

/// Waits until one is parked that is none of those: its container.
async fn parked_beside(chaser: &Chaser, others: &BTreeSet<String>) -> String {
    let new = || {
        containers(chaser)
            .into_iter()
            .find(|one| !others.contains(one))
    };
    eventually("a device is parked", seconds(60), async || {
        (pool(chaser).await.parked == 1).then_some(())
    })
    .await;
    new().expect("it runs")
}

pub(super) fn containers(chaser: &Chaser) -> BTreeSet<String> {
    docker::containers_of(&chaser.node_id).into_iter().collect()
}

fn volume(container: &str) -> String {
    docker::inspect(container, "{{range .Mounts}}{{.Name}}{{end}}")
}

pub(super) async fn order(chaser: &Chaser, body: Value) -> Answer {
    let made = chaser.api.post("/v1/sessions", &body).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.body);
    made
}

/// Orders a session that is ready at once, because it is given this device.
async fn claims(chaser: &Chaser, body: Value, device: &str) -> Session {
    let made = order(chaser, body).await;
    assert_eq!(made.body["status"], "ready", "no boot: {}", made.body);
    let shown = made.body["device"].as_str().unwrap();
    assert!(shown.starts_with("Android 14 - Chrome 1"), "{}", made.body);
    let session = chaser.api.adopt(&made.body);
    assert_eq!(chaser.container(&session.id).await, device);
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_device_is_claimed_without_a_boot_by_an_order_for_its_kind_and_by_no_other() {
    let (lab, origin) = lab();
    let ordered = Ordered::stand_in(&SLOW).line("warm = 1");
    let emulator = format!("image = \"{}\"", android_like());
    let setup = ordered.on(&lab).set("substrate.emulator", &emulator);
    let setup = setup.set("substrate.emulator", "needs = []");
    let setup = setup.set("substrate.emulator", "memory_bytes = 1073741824");
    let chaser = setup.start().await;
    let device = parked_beside(&chaser, &BTreeSet::new()).await;

    // Neither a browser nor a device of another kind.
    for other in [
        json!({}),
        json!({ "ttl_seconds": 900, "substrate": "emulator" }),
    ] {
        let made = order(&chaser, other).await;
        assert_eq!(made.body["status"], "creating", "{}", made.body);
        let session = chaser.api.adopt(&made.body);
        session.wait_for("ready").await;
        assert_ne!(chaser.container(&session.id).await, device);
        assert_eq!(session.delete().await.status, 204);
    }
    assert_eq!(pool(&chaser).await.hits, 0);

    // Whatever the profile: a device is what it is.
    let body = json!({ "ttl_seconds": 900, "substrate": "redroid", "profile": "galaxy-s25" });
    let session = claims(&chaser, body, &device).await;
    let all = json!({ "browser_contexts": true, "downloads": true });
    assert_eq!(session.get().await["capabilities"], all);
    let mut client = Library::Playwright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/parked")).await;
    let ip = session.egress_ip().await;
    assert!(origin.bytes_of(ip).down > 0, "it left from its own address");
    let now = pool(&chaser).await;
    assert_eq!((now.hits, now.misses, now.refills), (1, 0, 1), "{now:?}");
    let metrics = chaser.metrics().await;
    let hit = "chaser_node_pool_claims_total{profile=\"redroid\",outcome=\"hit\"} 1";
    assert!(metrics.contains(hit), "{metrics}");

    // One use: what comes in its place was booted anew, on data of its own.
    let data = volume(&device);
    let next = parked_beside(&chaser, &BTreeSet::from([device.clone()])).await;
    assert_ne!(volume(&next), data);
    assert_eq!(session.delete().await.status, 204);
    eventually("nothing is left of it", seconds(30), async || {
        let volumes = docker::run(&["volume", "ls", "--quiet"]);
        let gone = !containers(&chaser).contains(&device) && !volumes.contains(&data);
        gone.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_device_outlives_its_agent_and_is_claimed_from_the_next_one() {
    let (lab, origin) = lab();
    let ordered = Ordered::stand_in(&SLOW).line("warm = 1");
    let mut chaser = ordered.on(&lab).start().await;
    let device = parked_beside(&chaser, &BTreeSet::new()).await;
    chaser.sigkill();
    chaser.restart().await;
    assert_eq!(parked_beside(&chaser, &BTreeSet::new()).await, device);
    assert_eq!(pool(&chaser).await.refills, 0, "adopted as it was");
    let body = json!({ "ttl_seconds": 900, "substrate": "redroid" });
    let session = claims(&chaser, body, &device).await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/adopted")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_device_and_a_boot_give_their_place_up_for_an_order_of_another_kind() {
    let (lab, _origin) = lab();
    for arguments in [&[][..], &["androidboot.test.boot_delay=never"]] {
        let ordered = Ordered::stand_in(arguments).line("warm = 1");
        let setup = ordered.on(&lab).without("--max-sessions");
        let chaser = setup.set("node", "max_sessions = 1").start().await;
        let device = eventually("one is there", seconds(60), async || {
            let now = pool(&chaser).await;
            let there = if arguments.is_empty() {
                now.parked
            } else {
                now.starting
            };
            let device = containers(&chaser).into_iter().next()?;
            (there == 1).then_some(device)
        })
        .await;

        let made = order(&chaser, json!({})).await;
        let session = chaser.api.adopt(&made.body);
        session.wait_for("ready").await;
        eventually("the device is gone", seconds(30), async || {
            (!containers(&chaser).contains(&device)).then_some(())
        })
        .await;
        let retired = pool(&chaser).await.retired;
        assert_eq!(retired["gave_way"], 1, "{retired:?}");
        let refused = chaser.api.post("/v1/sessions", &json!({})).await;
        refused.refused(503, "no_capacity");
        assert_eq!(session.delete().await.status, 204);
    }
}
