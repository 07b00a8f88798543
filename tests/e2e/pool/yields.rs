//! The pool stands back for orders, and what it leaves behind is nothing.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use super::{claim, containers, parked, pool, usable, warm};
use crate::harness::{eventually, lab, processes, seconds};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_refilled_while_an_order_is_carried_out() {
    let (lab, _origin) = lab();
    let chaser = warm(&lab, 2, 8).start().await;
    parked(&chaser, 2).await;
    // Started in the ordinary way, which takes its time; both that are parked go meanwhile.
    let cold = json!({ "profile": "galaxy-s25" });
    let cold = chaser.api.post("/v1/sessions", &cold).await;
    assert_eq!(cold.body["status"], "creating", "{}", cold.body);
    claim(&chaser).await;
    claim(&chaser).await;
    let mut seen = 0;
    loop {
        let before = chaser.node.status().await;
        if chaser.node.status().await.creating == 0 {
            break;
        }
        // The order was under way for all of the first look.
        assert_eq!(before.pool[0].starting, 0, "refilled beside an order");
        seen += 1;
        sleep(Duration::from_millis(5)).await;
    }
    assert!(seen > 0, "looked at least once in time");
    parked(&chaser, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_finds_nothing_parked_is_made_and_answered_when_ready() {
    let (lab, origin) = lab();
    let chaser = warm(&lab, 1, 4).start().await;
    parked(&chaser, 1).await;
    let first = claim(&chaser).await;
    let second = usable(&chaser, &origin).await;
    let (one, two) = (
        chaser.container(&first.id).await,
        chaser.container(&second.id).await,
    );
    assert_ne!(one, two);
    let all = pool(&chaser).await;
    assert_eq!(all.hits + all.misses, 2);
    let odd = chaser
        .api
        .post("/v1/sessions?wait=closed", &json!({}))
        .await;
    assert!(odd.refused(400, "invalid_request").contains("ready"));
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_amid_claims_leaves_nothing_and_hands_nothing_out_twice() {
    let (lab, origin) = lab();
    let mut chaser = warm(&lab, 4, 8).start().await;
    parked(&chaser, 4).await;
    let url = format!("{}/v1/sessions", chaser.api.base());
    let orders = (0..4).map(|_| {
        let order = chaser.api.http().post(&url).bearer_auth("sk_test");
        order
            .header("content-type", "application/json")
            .body("{}")
            .send()
    });
    // The answers may never come.
    let orders = join_all(orders.collect::<Vec<_>>());
    let kill = async {
        eventually("the first is being claimed", seconds(10), async || {
            chaser.logs().contains("phase=creating").then_some(())
        })
        .await;
        chaser.sigkill();
    };
    let (_answers, ()) = tokio::join!(orders, kill);
    chaser.restart().await;
    let known = chaser.api.get("/v1/sessions").await;
    let mut places = Vec::new();
    for shown in known.body["data"].as_array().unwrap() {
        let session = chaser.api.adopt(shown);
        // What was half claimed has ended; what was whole serves, alone on its browser.
        let status = eventually("it is one or the other", seconds(20), async || {
            let status = session.get().await["status"].clone();
            (status != "creating").then_some(status)
        })
        .await;
        if status == "ready" {
            places.push((session.clone(), chaser.container(&session.id).await));
        }
    }
    let mut distinct: Vec<_> = places.iter().map(|(_, place)| place).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), places.len(), "one browser, one session");
    for (session, _) in &places {
        assert_eq!(session.delete().await.status, 204);
    }
    let left = parked(&chaser, 4).await;
    eventually("only what is parked is left", seconds(20), async || {
        (containers(&chaser).len() == 4).then_some(())
    })
    .await;
    assert!(places.iter().all(|(_, place)| !left.contains(place)));
    usable(&chaser, &origin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_relay_is_given_what_is_parked() {
    let (lab, origin) = lab();
    let chaser = warm(&lab, 2, 2).start().await;
    let before = parked(&chaser, 2).await;
    let relay = chaser.relay_pid();
    processes::kill(relay);
    eventually("another relay holds them", seconds(30), async || {
        let said = chaser.logs();
        (said.matches("instance attached again").count() >= 2).then_some(())
    })
    .await;
    let session = eventually("one is handed out", seconds(30), async || {
        let answer = chaser.api.post("/v1/sessions", &json!({})).await;
        (answer.body["status"] == "ready").then(|| chaser.api.adopt(&answer.body))
    })
    .await;
    assert!(before.contains(&chaser.container(&session.id).await));
    assert_eq!(session.delete().await.status, 204);
    usable(&chaser, &origin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_leave_alone_what_is_parked() {
    let (lab, _origin) = lab();
    let chaser = warm(&lab, 1, 1).start().await;
    let before = parked(&chaser, 1).await;
    // A stranger with our label goes with the second sweep that meets it: so those have been.
    let stranger = crate::harness::docker::Stray::new(&chaser.node_id);
    eventually("the stranger is swept", seconds(120), async || {
        (!stranger.is_there()).then_some(())
    })
    .await;
    assert_eq!(containers(&chaser), before);
    claim(&chaser).await;
}
