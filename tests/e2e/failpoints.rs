//! The agent dies between every two steps of a session's life, and the next one finds a clean table; and it
//! meets a relay that says less than our own does.
//!
//! Only with the feature `failpoints`, which `make test` builds beside.

use chaser::wire::node::{
    Blame, DrainRequest, EgressLimits, EgressWish, EndReason, NodeState, Phase, ProvisionRequest,
    SessionSpec, Substrate, TeardownRequest, UncordonRequest,
};
use tonic::Code;

use crate::harness::{
    Agent, Cdp, android_like, docker, eventually, lab, processes, seconds, session_id, spec,
};

/// What the next agent makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It failed, by our fault, and costs nothing.
    Error,
    /// It serves.
    Ready,
}

/// On the way up; the session is journalled before the first.
const UP: &[(&str, Then)] = &[
    ("session ordered", Then::Error),
    ("session expected", Then::Error),
    ("start created", Then::Error),
    ("start started", Then::Error),
    ("start journalled", Then::Error),
    ("start furnished", Then::Error),
    ("start handed over", Then::Error),
    ("start attached", Then::Error),
    ("instance Parked Journal", Then::Error),
    ("instance Parked Publish", Then::Error),
    ("instance Bound Journal", Then::Error),
    ("instance Bound Bind", Then::Error),
    ("instance Bound Publish", Then::Error),
    ("session ready Journal", Then::Ready),
    ("session ready Publish", Then::Ready),
];

/// Of a session that took over a boot of the pool's: before it waits for that boot, and after.
const TAKEN_OVER: [&[(&str, Then)]; 2] = [
    &[
        ("session ordered", Then::Error),
        ("session expected", Then::Error),
    ],
    &[
        ("start handed over", Then::Error),
        ("start attached", Then::Error),
        ("instance Parked Journal", Then::Error),
        ("instance Parked Publish", Then::Error),
        ("instance Bound Journal", Then::Error),
        ("instance Bound Bind", Then::Error),
        ("instance Bound Publish", Then::Error),
        ("session ready Journal", Then::Ready),
        ("session ready Publish", Then::Ready),
    ],
];

/// On the way down, which ends as it was asked to wherever it was left.
const DOWN: &[&str] = &[
    "session closing Journal",
    "session closing Publish",
    "session closing AskArbiter",
    "session arbitrated",
    "session ended Journal",
    "session ended Publish",
    "session ended Release",
    "instance Destroying Journal",
    "instance Destroying Publish",
    "destroy removed",
    "destroy tidied",
    "destroy released",
    "instance Gone Forget",
];

/// The next agent, settled.
async fn next(agent: &mut Agent) {
    agent.launch();
    agent.wait_until(NodeState::Ready).await;
}

async fn is_over(agent: &Agent, id: &str, reason: EndReason, point: &str) {
    eventually(&format!("over after `{point}`"), seconds(20), async || {
        let session = agent.node.session(id).await.unwrap();
        (session.phase() == Phase::Ended).then(|| {
            assert_eq!(session.end_reason(), reason, "{point}");
            assert!(session.ended_at.is_some(), "{point}");
        })
    })
    .await;
    let left = || {
        let mut left = docker::containers_of(&agent.node_id);
        for folder in ["meter", "instances"] {
            let files = processes::files_below(&agent.runtime_dir.join(folder));
            left.extend(files.iter().map(|file| file.display().to_string()));
        }
        left
    };
    eventually(&format!("clean after `{point}`"), seconds(20), async || {
        let status = agent.node.status().await;
        let held: u32 = status.egress_addresses.iter().map(|one| one.sessions).sum();
        (left().is_empty() && held == 0 && status.destroying == 0).then_some(())
    })
    .await;
}

/// The session is ready, its browser answers, and then a client deletes it.
async fn serves_until_it_is_deleted(agent: &Agent, id: &str, point: &str) {
    let session = agent.node.session(id).await.unwrap();
    assert_eq!(session.phase(), Phase::Ready, "{point}");
    answers(agent, id).await;
    agent.node.teardown(id).await.unwrap();
}

/// The session's browser answers a client.
async fn answers(agent: &Agent, id: &str) {
    let url = format!("ws://{}/sessions/{id}", agent.cdp);
    let mut cdp = Cdp::open(&url).await;
    let version = cdp.call("Browser.getVersion", serde_json::json!({})).await;
    version.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_step_of_the_way_up_leaves_nothing_or_a_session_that_serves() {
    let (lab, _origin) = lab();
    let mut agent = Agent::start(&lab, "").await;
    for (point, then) in UP {
        assert_eq!(agent.terminate(seconds(10)), Some(0));
        agent.launch_to_die_at(point);
        agent.wait_until(NodeState::Ready).await;
        let id = session_id();
        let order = ProvisionRequest {
            session_id: id.clone(),
            spec: Some(spec(seconds(600))),
            wait: true,
        };
        // The answer dies with the agent.
        drop(agent.node.dial().await.provision(order).await);
        agent.death(point).await;
        next(&mut agent).await;
        if *then == Then::Ready {
            serves_until_it_is_deleted(&agent, &id, point).await;
            is_over(&agent, &id, EndReason::ClientDelete, point).await;
        } else {
            is_over(&agent, &id, EndReason::Error, point).await;
            let session = agent.node.session(&id).await.unwrap();
            assert!(!session.billable && session.ready_at.is_none(), "{point}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_step_of_the_way_down_ends_as_it_was_asked_to() {
    let (lab, _origin) = lab();
    let mut agent = Agent::start(&lab, "").await;
    for point in DOWN {
        assert_eq!(agent.terminate(seconds(10)), Some(0));
        agent.launch_to_die_at(point);
        agent.wait_until(NodeState::Ready).await;
        let id = session_id();
        agent.node.provision(&id, spec(seconds(600))).await.unwrap();
        let order = TeardownRequest {
            session_id: id.clone(),
            reason: EndReason::ClientDelete.into(),
        };
        // The answer may come before the instance is gone, or die with the agent.
        drop(agent.node.dial().await.teardown(order).await);
        agent.death(point).await;
        next(&mut agent).await;
        is_over(&agent, &id, EndReason::ClientDelete, point).await;
    }
}

/// The container of the pool's boot, which is not this one.
async fn booting_beside(agent: &Agent, other: &str) -> String {
    eventually("a device boots for the pool", seconds(30), async || {
        let here = docker::containers_of(&agent.node_id);
        let new = here.into_iter().find(|one| one != other)?;
        docker::exec(&new, "test -d /data/local/tmp").then_some(new)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_step_after_a_takeover_leaves_nothing_of_the_boot_or_a_session_that_serves()
{
    let (lab, _origin) = lab();
    let config = format!(
        "[substrate.redroid]\nimage = \"{}\"\nneeds = []\nmemory_bytes = 1073741824\nwarm = 1\n\
         arguments = [\"androidboot.test.boot_delay=never\"]\n",
        android_like()
    );
    let mut agent = Agent::start(&lab, &config).await;
    let [before, after] = TAKEN_OVER.map(|points| points.iter());
    let points = before
        .map(|at| (at, false))
        .chain(after.map(|at| (at, true)));
    let mut last = booting_beside(&agent, "").await;
    for ((point, then), boots) in points {
        assert_eq!(agent.terminate(seconds(10)), Some(0));
        agent.launch_to_die_at(point);
        agent.wait_until(NodeState::Ready).await;
        let device = booting_beside(&agent, &last).await;
        let id = session_id();
        let order = ProvisionRequest {
            session_id: id.clone(),
            spec: Some(SessionSpec {
                substrate: Substrate::Redroid.into(),
                ..spec(seconds(900))
            }),
            wait: false,
        };
        // The answer may die with the agent.
        drop(agent.node.dial().await.provision(order).await);
        if boots {
            let pool = agent.node.status().await.pool;
            assert_eq!(pool[0].taken_over, 1, "{point}: {pool:?}");
            let done = "setprop init.svc.bootanim stopped; setprop sys.boot_completed 1";
            assert!(docker::exec(&device, done));
        }
        agent.death(point).await;
        next(&mut agent).await;
        if *then == Then::Ready {
            serves_until_it_is_deleted(&agent, &id, point).await;
        }
        eventually(&format!("over after `{point}`"), seconds(20), async || {
            let session = agent.node.session(&id).await.unwrap();
            let gone = !docker::containers_of(&agent.node_id).contains(&device);
            (session.phase() == Phase::Ended && gone).then(|| {
                let error = session.end_reason() == EndReason::Error;
                assert_eq!(error, *then == Then::Error, "{point}: {session:?}");
                assert!(error != session.ready_at.is_some(), "{point}: {session:?}");
            })
        })
        .await;
        last = booting_beside(&agent, &device).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_fault_it_was_outlives_the_agent_that_knew() {
    let (lab, _origin) = lab();
    let mut agent = Agent::start(&lab, "").await;
    // Before anybody else was told; and when the relay has cut and answered, and nobody has written that down.
    for point in ["session closing Journal", "session arbitrated"] {
        assert_eq!(agent.terminate(seconds(10)), Some(0));
        agent.launch_to_die_at(point);
        agent.wait_until(NodeState::Ready).await;
        let id = session_id();
        agent.node.provision(&id, spec(seconds(600))).await.unwrap();
        let at_once = DrainRequest {
            deadline: Some(prost_types::Duration::default()),
            until_restart: false,
        };
        drop(agent.node.dial().await.drain(at_once).await);
        agent.death(point).await;
        agent.launch();
        agent.wait_until(NodeState::NotReady).await;
        is_over(&agent, &id, EndReason::SubstrateDown, point).await;
        let failure = agent.node.session(&id).await.unwrap().failure.unwrap();
        assert_eq!(failure.message, "the node was drained", "{point}");
        assert_eq!(failure.blame(), Blame::Host, "{point}");
        agent
            .node
            .dial()
            .await
            .uncordon(UncordonRequest {})
            .await
            .unwrap();
        agent.wait_until(NodeState::Ready).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_relay_lacks_is_refused_by_name_until_it_is_started_again() {
    let (lab, _origin) = lab();
    let mut agent = Agent::start(&lab, "").await;
    assert_eq!(agent.terminate(seconds(10)), Some(0));
    processes::kill(agent.relay_pid());
    agent.launch_to_die_at("relay without throttle");
    agent.wait_until(NodeState::Ready).await;
    let (lives, older) = (session_id(), agent.relay_pid());
    agent
        .node
        .provision(&lives, spec(seconds(600)))
        .await
        .unwrap();
    // The upgrade: the agent is a newer one, and finds the relay of the one before.
    assert_eq!(agent.terminate(seconds(10)), Some(0));
    agent.launch();
    agent.wait_until(NodeState::Ready).await;
    assert_eq!(agent.relay_pid(), older);

    let (slowed, id) = (throttled(), session_id());
    let refused = agent.node.provision(&id, slowed.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    for word in ["`throttle`", &format!("`kill {older}`")] {
        assert!(refused.message().contains(word), "{word}: {refused}");
    }
    let never_was = agent.node.session(&id).await.unwrap_err();
    assert_eq!(never_was.code(), Code::NotFound);
    assert_eq!(docker::containers_of(&agent.node_id).len(), 1);

    // As it was told.
    processes::kill(older);
    let again = async || agent.node.provision(&id, slowed.clone()).await.ok();
    eventually("the order is served", seconds(30), again).await;
    assert_ne!(agent.relay_pid(), older);
    answers(&agent, &lives).await;
}

fn throttled() -> SessionSpec {
    let limits = EgressLimits {
        throttle_after_bytes: 400_000,
        throttle_bytes_per_second: 200_000,
        ..EgressLimits::default()
    };
    let egress = EgressWish {
        limits: Some(limits),
        ..EgressWish::default()
    };
    SessionSpec {
        egress: Some(egress),
        ..spec(seconds(600))
    }
}
