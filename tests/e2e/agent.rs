//! The agent alone: it comes and goes and touches no session; out of service and back.

use std::time::SystemTime;

use chaser::wire::node::{
    CordonRequest, DrainRequest, DutyState, EndReason, Event, NodeState, Phase, ReconcileRequest,
    UncordonRequest, event::What,
};
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;

use crate::harness::{Agent, Cdp, docker, eventually, lab, processes, seconds, session_id, spec};

/// A ready session; its id, its address, and Docker's pid of its browser.
async fn session(agent: &Agent, ttl: u64) -> (String, String, Option<u32>) {
    let id = session_id();
    let made = agent.node.provision(&id, spec(seconds(ttl))).await.unwrap();
    assert_eq!(made.phase(), Phase::Ready, "{made:?}");
    let containers = docker::containers_of(&agent.node_id);
    let newest = containers.iter().max().unwrap();
    let url = format!("ws://{}/sessions/{id}", agent.cdp);
    (id, url, docker::pid(newest))
}

async fn phase(agent: &Agent, id: &str) -> (Phase, EndReason) {
    let session = agent.node.session(id).await.unwrap();
    (session.phase(), session.end_reason())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_to_the_agent_touches_no_session_and_the_next_one_is_the_same_node() {
    let (lab, _origin) = lab();
    let mut agent = Agent::start(&lab, "").await;
    let (id, url, browser) = session(&agent, 600).await;
    let mut cdp = Cdp::open(&url).await;
    let relay = agent.relay_pid();

    assert_eq!(agent.terminate(seconds(10)), Some(0));
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
    agent.launch();
    agent.wait_until(NodeState::Ready).await;

    cdp.call("Browser.getVersion", json!({})).await.unwrap();
    assert_eq!(phase(&agent, &id).await.0, Phase::Ready);
    assert_eq!(
        (agent.relay_pid(), agent.node.status().await.node_id),
        (relay, agent.node_id.clone())
    );
    let containers = docker::containers_of(&agent.node_id);
    assert_eq!(docker::pid(&containers[0]), browser);
    let kept = std::fs::read_to_string(agent.state_dir.join("node.id")).unwrap();
    assert_eq!(kept.trim(), agent.node_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_on_the_same_state_is_refused_by_name() {
    let (lab, _origin) = lab();
    let agent = Agent::start(&lab, "").await;
    let elsewhere = lab.runtime_dir().join("second");
    let (code, said) = agent.second(elsewhere.to_str().unwrap()).await;
    assert_eq!(code, Some(1), "{said}");
    let first = std::fs::read_to_string(agent.state_dir.join("lock")).unwrap();
    assert!(
        said.contains(first.trim()) && said.contains("owned by another agent"),
        "{said}"
    );
    assert_eq!(agent.node.status().await.state(), NodeState::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_answers_that_it_starts_before_it_can_reach_docker() {
    let (lab, _origin) = lab();
    let mut agent = Agent::start(&lab, "").await;
    let (id, _, browser) = session(&agent, 600).await;
    agent.sigkill();
    // A frozen relay holds the start up exactly where it was greeted.
    let relay = agent.relay_pid();
    processes::signal(relay, nix::sys::signal::Signal::SIGSTOP);
    let launched = Instant::now();
    agent.launch();
    agent.wait_until(NodeState::Starting).await;
    assert!(launched.elapsed() < seconds(2), "{:?}", launched.elapsed());
    let status = agent.node.status().await;
    assert_eq!(status.node_id, agent.node_id, "it knows who it is");
    let refused = agent.node.provision(&session_id(), spec(seconds(60))).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
    processes::signal(relay, nix::sys::signal::Signal::SIGCONT);
    agent.wait_until(NodeState::Ready).await;
    assert_eq!(phase(&agent, &id).await.0, Phase::Ready);
    let containers = docker::containers_of(&agent.node_id);
    assert_eq!(docker::pid(&containers[0]), browser);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_node_takes_no_session_until_it_is_uncordoned_restart_or_not() {
    let (lab, _origin) = lab();
    let mut agent = Agent::start(&lab, "").await;
    let (id, ..) = session(&agent, 600).await;
    let (code, said) = agent.says(&["cordon"]).await;
    assert_eq!(
        (code, said.trim()),
        (0, "the node is cordoned; 1 sessions live")
    );
    agent.sigkill();
    agent.launch();
    agent.wait_until(NodeState::NotReady).await;
    let refused = agent.node.provision(&session_id(), spec(seconds(60))).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("cordoned"), "{refused}");
    assert_eq!(phase(&agent, &id).await.0, Phase::Ready, "it lives on");

    let (code, _) = agent.says(&["uncordon"]).await;
    assert_eq!(code, 0);
    agent.wait_until(NodeState::Ready).await;
    session(&agent, 600).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_who_ends_in_time_ends_the_rest_and_tells_both() {
    let (lab, _origin) = lab();
    let agent = Agent::start(&lab, "").await;
    let (short, ..) = session(&agent, 9).await;
    let (long, url, _) = session(&agent, 600).await;
    let mut cdp = Cdp::open(&url).await;
    let (code, said) = agent.says(&["drain", "--deadline", "12s"]).await;
    assert_eq!(
        (code, said.trim()),
        (0, "the node is drained; 0 sessions live")
    );
    assert_eq!(
        phase(&agent, &short).await,
        (Phase::Ended, EndReason::TtlExpired)
    );
    assert_eq!(
        phase(&agent, &long).await,
        (Phase::Ended, EndReason::SubstrateDown)
    );
    let close = cdp.closed(seconds(2)).await;
    assert_eq!(close, Some((4005, "substrate_down".to_owned())));
    assert!(docker::containers_of(&agent.node_id).is_empty());

    let told = agent
        .node
        .events_until(|events| {
            events.iter().any(|event| {
                matches!(&event.what, Some(What::Duty(duty)) if duty.state() == DutyState::Drained)
            })
        })
        .await;
    let ended = |id: &str| {
        told.iter().position(|event| {
            matches!(&event.what, Some(What::Session(session))
                if session.id == id && session.phase() == Phase::Ended)
        })
    };
    let announced = told.iter().position(
        |event| matches!(&event.what, Some(What::Duty(duty)) if duty.state() == DutyState::Draining),
    );
    assert!(
        announced < ended(&short) && ended(&short) < ended(&long),
        "lead time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_called_off_by_an_uncordon_and_survives_a_restart() {
    let (lab, _origin) = lab();
    let mut agent = Agent::start(&lab, "").await;
    let (id, ..) = session(&agent, 600).await;
    let order = |deadline| DrainRequest {
        deadline: Some(prost_types::Duration {
            seconds: deadline,
            nanos: 0,
        }),
        until_restart: false,
    };
    agent.node.dial().await.drain(order(300)).await.unwrap();
    agent
        .node
        .dial()
        .await
        .cordon(CordonRequest {})
        .await
        .unwrap();
    let duty = agent.node.status().await.duty.unwrap();
    assert_eq!((duty.state(), duty.sessions), (DutyState::Draining, 1));
    let at = SystemTime::try_from(duty.deadline.unwrap()).unwrap();
    let left = at.duration_since(SystemTime::now()).unwrap();
    assert!(left > seconds(280) && left <= seconds(300), "{left:?}");
    agent
        .node
        .dial()
        .await
        .uncordon(UncordonRequest {})
        .await
        .unwrap();
    assert_eq!(agent.node.status().await.state(), NodeState::Ready);
    assert_eq!(phase(&agent, &id).await.0, Phase::Ready);

    agent.node.dial().await.drain(order(3)).await.unwrap();
    agent.sigkill();
    agent.launch();
    eventually("the next agent drains on", seconds(20), async || {
        tokio::net::UnixStream::connect(agent.runtime_dir.join("node.sock"))
            .await
            .ok()?;
        let duty = agent.node.status().await.duty?;
        (duty.state() == DutyState::Drained).then_some(())
    })
    .await;
    assert_eq!(
        phase(&agent, &id).await,
        (Phase::Ended, EndReason::SubstrateDown)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_drain_waits_over_a_restart_of_the_agent() {
    let (lab, _origin) = lab();
    let mut agent = Agent::start(&lab, "").await;
    let (id, ..) = session(&agent, 600).await;
    let waits = tokio::process::Command::new(env!("CARGO_BIN_EXE_chaser"))
        .args([
            "node",
            "drain",
            "--wait",
            "--deadline",
            "10m",
            "--runtime-dir",
        ])
        .arg(&agent.runtime_dir)
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let draining = async |agent: &Agent| {
        let socket = agent.runtime_dir.join("node.sock");
        tokio::net::UnixStream::connect(socket).await.ok()?;
        let duty = agent.node.status().await.duty?;
        (duty.state() == DutyState::Draining).then_some(())
    };
    eventually("it drains", seconds(10), async || draining(&agent).await).await;
    agent.sigkill();
    agent.launch();
    eventually("the next agent drains on", seconds(20), async || {
        draining(&agent).await
    })
    .await;
    assert_eq!(phase(&agent, &id).await.0, Phase::Ready);
    // Nothing else ends within ten minutes what is waited for.
    eventually(
        "it has compared, and takes orders",
        seconds(20),
        async || agent.node.teardown(&id).await.ok(),
    )
    .await;
    let waited = tokio::time::timeout(seconds(30), waits.wait_with_output()).await;
    let output = waited.expect("it ends with the last session").unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "the node is drained; 0 sessions live\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_control_plane_does_not_own_ends_after_the_grace_and_what_it_names_in_time_does_not()
 {
    let (lab, _origin) = lab();
    let agent = Agent::start(&lab, "[node]\norphan_grace = \"3s\"").await;
    let (mine, ..) = session(&agent, 600).await;
    let (lost, ..) = session(&agent, 600).await;
    let (found, ..) = session(&agent, 600).await;
    let own = |ids: &[&String]| ReconcileRequest {
        owned_session_ids: ids.iter().map(|id| (*id).clone()).collect(),
        owns_nothing: false,
        grace: None,
    };
    let refused = agent.node.dial().await.reconcile(own(&[])).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    let stranger = session_id();
    let answer = eventually("all are old enough to be judged", seconds(10), async || {
        let answer = agent
            .node
            .dial()
            .await
            .reconcile(own(&[&mine, &stranger]))
            .await;
        let answer = answer.unwrap().into_inner();
        (answer.disowned_session_ids.len() == 2).then_some(answer)
    })
    .await;
    assert_eq!(answer.absent_session_ids, [stranger]);
    let named = agent
        .node
        .dial()
        .await
        .reconcile(own(&[&mine, &found]))
        .await;
    assert_eq!(
        named.unwrap().into_inner().disowned_session_ids,
        std::slice::from_ref(&lost)
    );
    eventually("the disowned ends", seconds(10), async || {
        (phase(&agent, &lost).await == (Phase::Ended, EndReason::AbandonedOrphan)).then_some(())
    })
    .await;
    for id in [&mine, &found] {
        assert_eq!(phase(&agent, id).await.0, Phase::Ready);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_ours_that_nobody_knows_goes_after_the_grace_and_a_strangers_never() {
    let (lab, _origin) = lab();
    let agent = Agent::start(&lab, "[node]\norphan_grace = \"4s\"").await;
    let (id, _, browser) = session(&agent, 600).await;
    let orphan = docker::Stray::new(&agent.node_id);
    let stranger = docker::Stray::new("00000000-0000-7000-8000-000000000000");
    let made = Instant::now();
    eventually("the orphan is removed", seconds(30), async || {
        (!orphan.is_there()).then_some(())
    })
    .await;
    assert!(made.elapsed() >= seconds(4), "{:?}", made.elapsed());
    let removed = |event: &Event| match &event.what {
        Some(What::Orphan(removed)) => Some(removed.container_name.clone()),
        _ => None,
    };
    let told = agent
        .node
        .events_until(|events| events.iter().any(|event| removed(event).is_some()))
        .await;
    let told: Vec<_> = told.iter().filter_map(removed).collect();
    assert_eq!(told, [orphan.name()]);
    assert_eq!(agent.node.status().await.orphans_removed, 1);
    assert!(
        stranger.is_there(),
        "another node's container is none of our business"
    );
    assert_eq!(phase(&agent, &id).await.0, Phase::Ready);
    assert!(processes::lives(browser.unwrap()));
}
