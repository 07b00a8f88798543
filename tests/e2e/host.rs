//! The host in trouble: conditions are measured and shown, admission stops and comes back.

use chaser::wire::{
    RETRY_PUSHBACK,
    node::{Condition, ConditionLevel, event::What},
};
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;

use crate::harness::{Chaser, Setup, SmallDisk, eventually, lab, seconds, session_id, spec};

/// A condition of the node as it stands.
async fn condition(chaser: &Chaser, name: &str) -> Condition {
    let status = chaser.node.status().await;
    let found = status.conditions.into_iter().find(|one| one.name == name);
    found.unwrap_or_else(|| panic!("there is no condition {name}"))
}

async fn stands(chaser: &Chaser, name: &str, level: ConditionLevel) -> Condition {
    let what = format!("{name} is {level:?}");
    eventually(&what, seconds(30), async || {
        // The first measure is taken a moment after the node is ready.
        let status = chaser.node.status().await;
        let mut conditions = status.conditions.into_iter();
        conditions.find(|one| one.name == name && one.level() == level)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_stops_admission_at_once_and_room_brings_it_back() {
    let (lab, _origin) = lab();
    let disk = SmallDisk::at(lab.state_dir().join("S"), 96);
    let chaser = Setup::on(&lab)
        .set("host", "disk_degraded_bytes = 50331648")
        .set("host", "disk_critical_bytes = 1048576")
        .set("host", "recovery = \"1s\"")
        .start()
        .await;
    let session = chaser.api.ready_session().await;
    stands(&chaser, "disk", ConditionLevel::Ok).await;

    assert!(disk.fill(64));
    let stood = stands(&chaser, "disk", ConditionLevel::Degraded).await;
    assert!(stood.why.contains("MiB free at"), "{}", stood.why);
    assert!(stood.since.is_some());
    let mut fastest = seconds(60);
    for _ in 0..5 {
        let asked = Instant::now();
        let refused = chaser.api.post("/v1/sessions", &json!({})).await;
        fastest = fastest.min(asked.elapsed());
        let message = refused.refused(503, "no_capacity");
        assert!(message.contains("disk is degraded"), "{message}");
        assert_eq!(refused.retry_after.as_deref(), Some("1"));
    }
    assert!(fastest.as_millis() < 100, "{fastest:?}");
    let refused = chaser
        .node
        .provision(&session_id(), spec(seconds(600)))
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.metadata().get(RETRY_PUSHBACK).unwrap(), "1000");

    // The operator sees it, and nothing that lives is touched.
    let said = chaser
        .command(&["node", "status", "--runtime-dir"])
        .arg(&chaser.runtime_dir)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("stopped: disk is degraded"), "{said}");
    let metrics = chaser.metrics().await;
    for line in [
        "chaser_node_condition{condition=\"disk\"} 1",
        "chaser_node_condition{condition=\"docker\"} 0",
        "chaser_node_admitting 0",
        "chaser_node_ready 1",
    ] {
        assert!(metrics.contains(line), "no {line}: {metrics}");
    }
    assert_eq!(session.get().await["status"], "ready");

    disk.empty();
    stands(&chaser, "disk", ConditionLevel::Ok).await;
    assert!(chaser.node.status().await.admission_stopped.is_empty());
    let next = chaser.api.ready_session().await;
    for session in [session, next] {
        assert_eq!(session.delete().await.status.as_u16(), 204);
    }
    let told = chaser
        .node
        .events_until(|events| levels_of(events, "disk").len() == 2)
        .await;
    let levels = levels_of(&told, "disk");
    assert_eq!(levels, [ConditionLevel::Degraded, ConditionLevel::Ok]);
}

/// What a condition's events said, oldest first.
fn levels_of(events: &[chaser::wire::node::Event], name: &str) -> Vec<ConditionLevel> {
    let told = events.iter().filter_map(|event| match &event.what {
        Some(What::Condition(condition)) if condition.name == name => Some(condition.level()),
        _ => None,
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_condition_of_a_healthy_host_is_ok_and_says_what_was_measured() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    condition_names(&chaser).await;
    // What this machine is short of for a moment is its own business; these it cannot be.
    for name in [
        "docker",
        "docker_events",
        "relay",
        "route",
        "teardown",
        "clock",
    ] {
        let stood = condition(&chaser, name).await;
        assert_eq!(stood.level(), ConditionLevel::Ok, "{name}: {}", stood.why);
        assert!(!stood.why.is_empty(), "{name}");
    }
}

async fn condition_names(chaser: &Chaser) {
    let expected = chaser::host::monitor::Condition::ALL.map(|one| one.as_str().to_owned());
    let names = eventually("the host is measured", seconds(10), async || {
        let conditions = chaser.node.status().await.conditions;
        (!conditions.is_empty()).then_some(conditions)
    })
    .await;
    let names: Vec<_> = names.into_iter().map(|one| one.name).collect();
    assert_eq!(names, expected);
}
