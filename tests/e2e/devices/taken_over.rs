//! Orders that come while the pool boots a device of their kind, on hosts that have a place for one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    Ordered,
    parked::{containers, order, pool},
};
use crate::harness::{Chaser, Lab, Library, Session, docker, eventually, lab, seconds};

/// One that boots for the pool until it is told to be done, in the only place for a device.
async fn one_place(lab: &Lab) -> Chaser {
    let ordered = Ordered::stand_in(&["androidboot.test.boot_delay=never"]);
    // The cores of a guest are all that may be promised.
    let ordered = ordered.line("warm = 1").line("cpu_millis = 64000");
    // Nothing that is waited for here ends because this is over.
    let ordered = ordered.line("boot_timeout = \"600s\"");
    let chaser = ordered.on(lab).set("node", "cpu_overcommit = 1");
    let chaser = chaser.start().await;
    let status = chaser.node.status().await;
    let redroid = status.substrates.iter().find(|one| one.capacity == 1);
    redroid.unwrap_or_else(|| panic!("{:?}", status.substrates));
    chaser
}

/// Waits for the container of a boot of the pool that is none of those.
async fn booting_beside(chaser: &Chaser, others: &BTreeSet<String>) -> String {
    eventually("a device boots for the pool", seconds(60), async || {
        let here = containers(chaser);
        let new = here.difference(others).next().cloned()?;
        (pool(chaser).await.starting == 1 && docker::pid(&new).is_some()).then_some(new)
    })
    .await
}

fn boots_to_the_end(device: &str) {
    let done = "setprop init.svc.bootanim stopped; setprop sys.boot_completed 1";
    assert!(docker::exec(device, done));
}

async fn gone(chaser: &Chaser, device: &str) {
    eventually("nothing is left of it", seconds(60), async || {
        (!containers(chaser).contains(device)).then_some(())
    })
    .await;
}

fn redroid() -> Value {
    json!({ "ttl_seconds": 900, "substrate": "redroid" })
}

/// Orders one that waits for this boot.
async fn waits_for(chaser: &Chaser, device: &str) -> Session {
    let made = order(chaser, redroid()).await;
    assert_eq!(made.body["status"], "creating", "{}", made.body);
    let session = chaser.api.adopt(&made.body);
    assert_eq!(chaser.container(&session.id).await, device);
    session
}

async fn code_of_its_end(session: &Session) -> Value {
    let ended = session.wait_for("error").await;
    ended["error"]["code"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_takes_over_the_boot_that_is_under_way_where_there_is_no_other_place() {
    let (lab, origin) = lab();
    let chaser = one_place(&lab).await;
    let device = booting_beside(&chaser, &BTreeSet::new()).await;
    let session = waits_for(&chaser, &device).await;
    let counted = pool(&chaser).await;
    assert_eq!(counted.starting, 0, "it is the session's");
    let claims = (counted.hits, counted.taken_over, counted.misses);
    assert_eq!(claims, (0, 1, 0));
    eventually("its boot is told", seconds(30), async || {
        let now = session.get().await;
        (now["progress"]["step"] == "boot").then_some(())
    })
    .await;
    let refused = chaser.api.post("/v1/sessions", &redroid()).await;
    refused.refused(503, "no_capacity");

    boots_to_the_end(&device);
    let ready = session.wait_for("ready").await;
    let shown = ready["device"].as_str().unwrap();
    assert!(shown.starts_with("Android 14 - Chrome 1"), "{ready}");
    let mut client = Library::Playwright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/taken-over")).await;
    let ip = session.egress_ip().await;
    assert!(origin.bytes_of(ip).down > 0, "it left from its own address");
    assert_eq!(containers(&chaser), BTreeSet::from([device.clone()]));
    assert_eq!(session.delete().await.status, 204);

    // Its place is the pool's again at once, though the session is remembered.
    gone(&chaser, &device).await;
    let next = booting_beside(&chaser, &BTreeSet::new()).await;
    assert_ne!(next, device);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_boot_that_was_taken_over_may_leave_and_fails_as_it_fails() {
    let (lab, _origin) = lab();
    let chaser = one_place(&lab).await;
    let first = booting_beside(&chaser, &BTreeSet::new()).await;
    let session = waits_for(&chaser, &first).await;
    assert_eq!(session.delete().await.status, 204);
    gone(&chaser, &first).await;

    let second = booting_beside(&chaser, &BTreeSet::new()).await;
    let session = waits_for(&chaser, &second).await;
    docker::kill(&second);
    assert_eq!(code_of_its_end(&session).await, "browser_exited");
    gone(&chaser, &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_that_was_taken_over_dies_with_the_agent_that_waited_for_it_and_the_next_one_boots()
{
    let (lab, _origin) = lab();
    let mut chaser = one_place(&lab).await;
    let device = booting_beside(&chaser, &BTreeSet::new()).await;
    let session = waits_for(&chaser, &device).await;
    chaser.sigkill();
    chaser.restart().await;
    assert_eq!(code_of_its_end(&session).await, "agent_restarted");
    gone(&chaser, &device).await;

    let next = booting_beside(&chaser, &BTreeSet::new()).await;
    let session = waits_for(&chaser, &next).await;
    boots_to_the_end(&next);
    session.wait_for("ready").await;
}
