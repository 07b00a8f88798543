//! The host in trouble: conditions are measured and shown, admission stops and comes back.

use chaser::wire::{
    RETRY_PUSHBACK,
    node::{Blame, Condition, ConditionLevel, Event, NodeState, SubstrateDown, event::What},
};
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;

use crate::harness::{
    Chaser, DockerDoor, Door, Setup, SmallDisk, docker, eventually, lab, seconds, session_id, spec,
};

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
fn levels_of(events: &[Event], name: &str) -> Vec<ConditionLevel> {
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

/// The events that named sessions which the host took with it.
fn taken(events: &[Event], condition: &str) -> Vec<SubstrateDown> {
    let told = events.iter().filter_map(|event| match &event.what {
        Some(What::SubstrateDown(down)) if down.condition == condition => Some(down.clone()),
        _ => None,
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_critical_disk_takes_the_youngest_session_and_no_more_than_it_must() {
    let (lab, _origin) = lab();
    let disk = SmallDisk::at(lab.state_dir().join("S"), 96);
    let chaser = Setup::on(&lab)
        .set("host", "disk_degraded_bytes = 50331648")
        .set("host", "disk_critical_bytes = 33554432")
        .set("host", "recovery = \"1s\"")
        // One is taken at once, the next would be much later.
        .set("host", "shed_interval = \"10m\"")
        .start()
        .await;
    let old = chaser.api.ready_session().await;
    let young = chaser.api.ready_session().await;

    assert!(disk.fill(72));
    stands(&chaser, "disk", ConditionLevel::Critical).await;
    let ended = young.wait_for("closed").await;
    assert_eq!(ended["ended_reason"], "substrate_down", "{ended}");
    let seen = chaser.node.session(&young.id).await.unwrap();
    assert!(!seen.billable);
    let failure = seen.failure.unwrap();
    assert_eq!(failure.blame(), Blame::Host);
    assert!(failure.message.contains("disk is critical"), "{failure:?}");
    assert_eq!(old.get().await["status"], "ready");

    disk.empty();
    stands(&chaser, "disk", ConditionLevel::Ok).await;
    assert_eq!(old.get().await["status"], "ready");
    let events = chaser
        .node
        .events_until(|events| levels_of(events, "disk").last() == Some(&ConditionLevel::Ok))
        .await;
    let told = taken(&events, "disk");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].session_ids, std::slice::from_ref(&young.id));
    assert!(taken(&events, "").is_empty(), "one event names a session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_that_hangs_for_good_takes_every_session_and_is_cleaned_up_after() {
    let (lab, _origin) = lab();
    let door = DockerDoor::open(&lab);
    let chaser = Setup::on(&lab)
        .set("node", &door.line())
        .set("host", "docker_degraded = \"1s\"")
        .set("host", "docker_critical = \"6s\"")
        .set("host", "teardown_degraded = \"1s\"")
        .set("host", "recovery = \"1s\"")
        .start()
        .await;
    let sessions = [
        chaser.api.ready_session().await,
        chaser.api.ready_session().await,
    ];
    assert_eq!(docker::containers_of(&chaser.node_id).len(), 2);

    door.turn(Door::Silent);
    stands(&chaser, "docker", ConditionLevel::Degraded).await;
    let refused = chaser.api.post("/v1/sessions", &json!({})).await;
    refused.refused(503, "no_capacity");
    for session in &sessions {
        assert_eq!(
            session.get().await["status"],
            "ready",
            "not before its time"
        );
    }
    stands(&chaser, "docker", ConditionLevel::Critical).await;
    for session in &sessions {
        let ended = session.wait_for("closed").await;
        assert_eq!(ended["ended_reason"], "substrate_down", "{ended}");
    }
    let events = chaser
        .node
        .events_until(|events| !taken(events, "docker").is_empty())
        .await;
    let mut named = taken(&events, "docker").remove(0).session_ids;
    named.sort();
    assert_eq!(named, sessions.each_ref().map(|one| one.id.clone()));
    // What cannot be removed is shown, by its name.
    let stuck = stands(&chaser, "teardown", ConditionLevel::Degraded).await;
    assert!(stuck.why.contains("chaser-"), "{}", stuck.why);
    assert_eq!(docker::containers_of(&chaser.node_id).len(), 2);

    door.turn(Door::Open);
    eventually("everything is removed", seconds(60), async || {
        docker::containers_of(&chaser.node_id)
            .is_empty()
            .then_some(())
    })
    .await;
    stands(&chaser, "docker", ConditionLevel::Ok).await;
    stands(&chaser, "teardown", ConditionLevel::Ok).await;
    chaser.api.ready_session().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_that_fails_delays_a_removal_and_never_forgets_it() {
    let (lab, _origin) = lab();
    let door = DockerDoor::open(&lab);
    let chaser = Setup::on(&lab)
        .set("node", &door.line())
        .set("host", "teardown_degraded = \"1s\"")
        .set("host", "recovery = \"1s\"")
        .start()
        .await;
    for how in [Door::Failing, Door::Shut] {
        let session = chaser.api.ready_session().await;
        door.turn(how);
        // The session's end does not wait for Docker; the container's does.
        assert_eq!(session.delete().await.status.as_u16(), 204, "{how:?}");
        stands(&chaser, "teardown", ConditionLevel::Degraded).await;
        assert_eq!(docker::containers_of(&chaser.node_id).len(), 1, "{how:?}");
        door.turn(Door::Open);
        eventually("it is removed", seconds(60), async || {
            docker::containers_of(&chaser.node_id)
                .is_empty()
                .then_some(())
        })
        .await;
        stands(&chaser, "teardown", ConditionLevel::Ok).await;
        eventually("sessions are taken again", seconds(30), async || {
            let status = chaser.node.status().await;
            let open = status.state() == NodeState::Ready && status.admission_stopped.is_empty();
            open.then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_egress_address_takes_the_session_on_it_after_its_grace() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab)
        .egress_addresses(2)
        .set("host", "route_degraded = \"1s\"")
        .set("host", "route_critical = \"4s\"")
        .set("host", "recovery = \"1s\"")
        .start()
        .await;
    let (one, other) = (
        chaser.api.ready_session().await,
        chaser.api.ready_session().await,
    );
    let address = one.egress_ip().await;
    lab.lose_address(address);
    let stood = stands(&chaser, "route", ConditionLevel::Degraded).await;
    assert!(stood.why.contains(&address.to_string()), "{}", stood.why);
    assert_eq!(one.get().await["status"], "ready", "not before its grace");
    let ended = one.wait_for("closed").await;
    assert_eq!(ended["ended_reason"], "substrate_down", "{ended}");
    assert_eq!(other.get().await["status"], "ready");
    assert_eq!(other.delete().await.status.as_u16(), 204);
    // The address that is left is given; the lost one is not.
    let next = chaser.api.ready_session().await;
    assert_ne!(next.egress_ip().await, address);
    lab.egress_addresses(2);
    stands(&chaser, "route", ConditionLevel::Ok).await;
}
