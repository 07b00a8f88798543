//! The warm pool: browsers that are there before anybody orders them.

mod decay;
mod yields;

use std::collections::BTreeSet;

use chaser::wire::node::PoolProfile;
use futures::future::join_all;
use serde_json::json;

use crate::harness::{
    Chaser, Lab, Library, Origin, Session, Setup, docker, eventually, lab, seconds, session_id,
    spec,
};

/// So many parked, and room for so many sessions; the workspace may have as many as it likes.
fn warm(lab: &Lab, warm: u32, max: u32) -> Setup<'_> {
    Setup::on(lab)
        .without("--max-sessions")
        .set("node", &format!("max_sessions = {max}"))
        .set("api", "max_concurrent_sessions = 0")
        .set("pool", &format!("warm = {warm}"))
}

async fn pool(chaser: &Chaser) -> PoolProfile {
    chaser.node.status().await.pool.remove(0)
}

/// Waits until so many are parked and none is on its way; their containers.
async fn parked(chaser: &Chaser, count: u32) -> BTreeSet<String> {
    eventually("browsers are parked", seconds(60), async || {
        let pool = pool(chaser).await;
        (pool.parked == count && pool.starting == 0).then_some(())
    })
    .await;
    containers(chaser)
}

fn containers(chaser: &Chaser) -> BTreeSet<String> {
    docker::containers_of(&chaser.node_id).into_iter().collect()
}

/// Orders one and expects it to be ready in the answer.
async fn claim(chaser: &Chaser) -> Session {
    let body = json!({ "ttl_seconds": 600 });
    let answer = chaser.api.post("/v1/sessions", &body).await;
    assert_eq!(answer.body["status"], "ready", "{}", answer.body);
    chaser.api.adopt(&answer.body)
}

/// Orders one, parked or not, and has it load a page.
async fn usable(chaser: &Chaser, origin: &Origin) -> Session {
    let answer = chaser.api.post("/v1/sessions?wait=ready", &json!({})).await;
    assert_eq!(answer.body["status"], "ready", "{}", answer.body);
    let session = chaser.api.adopt(&answer.body);
    let mut client = Library::Playwright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/page")).await;
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_ready_in_its_own_answer_on_a_browser_that_was_there() {
    let (lab, origin) = lab();
    let chaser = warm(&lab, 2, 2).start().await;
    let before = parked(&chaser, 2).await;
    assert_eq!(before.len(), 2);
    let session = claim(&chaser).await;
    assert!(before.contains(&chaser.container(&session.id).await));
    assert_eq!(
        containers(&chaser),
        before,
        "nothing was made, and there is no room for more"
    );
    let mut client = Library::Playwright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/page")).await;
    let ip = session.egress_ip().await;
    assert!(origin.bytes_of(ip).down > 0, "it left from its own address");
    drop(client);
    let now = pool(&chaser).await;
    assert_eq!((now.hits, now.misses, now.refills), (1, 0, 2));
    assert!(now.oldest.is_some() && now.last_refill.is_some());
    let shown = chaser.metrics().await;
    let hit = "chaser_node_pool_claims_total{profile=\"default\",outcome=\"hit\"} 1";
    assert!(shown.contains(hit), "{shown}");
    assert_eq!(session.delete().await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_orders_at_once_are_ten_browsers_and_the_next_is_refused_at_once() {
    let (lab, _origin) = lab();
    let chaser = warm(&lab, 10, 10).start().await;
    let before = parked(&chaser, 10).await;
    let sessions = join_all((0..10).map(|_| claim(&chaser))).await;
    let places = join_all(sessions.iter().map(|session| chaser.container(&session.id))).await;
    assert_eq!(places.iter().cloned().collect::<BTreeSet<_>>(), before);
    let asked = tokio::time::Instant::now();
    let refused = chaser.api.post("/v1/sessions", &json!({})).await;
    let took = asked.elapsed();
    refused.refused(503, "no_capacity");
    assert!(
        refused.retry_after.is_some() && took < seconds(1),
        "{took:?}"
    );
    for session in sessions {
        assert_eq!(session.delete().await.status, 204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_gives_way_to_an_order_that_cannot_use_it() {
    let (lab, _origin) = lab();
    let chaser = warm(&lab, 2, 2).start().await;
    let before = parked(&chaser, 2).await;
    let body = json!({ "profile": "galaxy-s25" });
    let answer = chaser.api.post("/v1/sessions", &body).await;
    let other = chaser.api.adopt(&answer.body);
    other.wait_for("ready").await;
    let left = parked(&chaser, 1).await;
    assert_eq!(
        left.intersection(&before).count(),
        1,
        "one of the two went for it"
    );
    let session = claim(&chaser).await;
    assert!(before.contains(&chaser.container(&session.id).await));
    let full = chaser
        .node
        .provision(&session_id(), spec(seconds(600)))
        .await;
    assert_eq!(full.unwrap_err().code(), tonic::Code::ResourceExhausted);
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_agent_leaves_parked_browsers_that_the_next_one_adopts() {
    let (lab, _origin) = lab();
    let mut chaser = warm(&lab, 2, 3).start().await;
    parked(&chaser, 2).await;
    let used = claim(&chaser).await;
    let taken = chaser.container(&used.id).await;
    let all = parked(&chaser, 2).await;
    chaser.sigkill();
    chaser.restart().await;
    assert_eq!(parked(&chaser, 2).await, all, "adopted as they were");
    assert_eq!(used.get().await["status"], "ready");
    let session = claim(&chaser).await;
    let container = chaser.container(&session.id).await;
    assert!(all.contains(&container) && container != taken);
    assert_eq!(used.delete().await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_takes_what_is_parked_along_and_an_uncordon_brings_it_back() {
    let (lab, _origin) = lab();
    let chaser = warm(&lab, 2, 4).start().await;
    let before = parked(&chaser, 2).await;
    let (cordoned, drained, back) = (
        chaser.says(&["cordon"]).await,
        chaser.says(&["drain", "--deadline", "5m"]).await,
        pool(&chaser).await,
    );
    assert!(cordoned.contains("is cordoned"), "{cordoned}");
    // It waits until nothing is left, parked browsers included.
    assert!(drained.contains("is drained"), "{drained}");
    assert!(containers(&chaser).is_empty());
    assert_eq!((back.parked, back.starting), (0, 0), "{back:?}");
    assert_eq!(back.retired.get("drained"), Some(&2), "{back:?}");

    assert!(chaser.says(&["uncordon"]).await.contains("in service"));
    let after = parked(&chaser, 2).await;
    assert!(after.is_disjoint(&before));
    let session = claim(&chaser).await;
    assert!(after.contains(&chaser.container(&session.id).await));
}
