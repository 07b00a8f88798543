//! A host that runs out of memory or threads, as its kernel tells the agent: who is refused, who must go,
//! and that all is well again afterwards.

use chaser::wire::node::{ConditionLevel, EndReason, Phase};
use tonic::Code;

use crate::harness::{Agent, Cdp, Kernel, eventually, lab, seconds, session_id, spec};

/// A key of the conditions, how it gets bad, and how it was.
type Strain = (&'static str, fn(&Kernel), fn(&Kernel));

const STRAINS: [Strain; 3] = [
    (
        "memory",
        |host| host.available(7),
        |host| host.available(90),
    ),
    (
        "memory_pressure",
        |host| host.stalled(30),
        |host| host.stalled(0),
    ),
    ("pids", |host| host.threads(90), |host| host.threads(2)),
];

#[tokio::test(flavor = "multi_thread")]
async fn memory_pressure_and_threads_stop_admission_while_they_are_short() {
    let (lab, _origin) = lab();
    let host = Kernel::new("admission");
    let config = "[host]\nrecovery = \"1s\"";
    let agent = Agent::start_under(&lab, config, host.words()).await;
    let id = session_id();
    agent.node.provision(&id, spec(seconds(600))).await.unwrap();
    for (name, worse, better) in STRAINS {
        agent.node.stands(name, ConditionLevel::Ok).await;
        worse(&host);
        agent.node.stands(name, ConditionLevel::Degraded).await;
        let one_more = session_id();
        let ordered = agent.node.provision(&one_more, spec(seconds(600)));
        let refused = ordered.await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert!(refused.message().contains(name), "{refused}");
        let lives = agent.node.session(&id).await.unwrap();
        assert_eq!(lives.phase(), Phase::Ready, "who lives goes on");
        better(&host);
        agent.node.stands(name, ConditionLevel::Ok).await;
    }
    let next = session_id();
    let next = agent.node.provision(&next, spec(seconds(600)));
    assert_eq!(next.await.unwrap().phase(), Phase::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_goes_when_memory_is_critical_and_the_others_stay_once_it_is_not() {
    let (lab, _origin) = lab();
    let host = Kernel::new("shed");
    let config = "[host]\nrecovery = \"1s\"\nshed_interval = \"60s\"";
    let agent = Agent::start_under(&lab, config, host.words()).await;
    let ids = [session_id(), session_id(), session_id()];
    for id in &ids {
        agent.node.provision(id, spec(seconds(600))).await.unwrap();
    }
    let mut clients = Vec::new();
    for id in &ids {
        clients.push(Cdp::open(&format!("ws://{}/sessions/{id}", agent.cdp)).await);
    }
    host.available(2);
    let victim = eventually("one is ended", seconds(20), async || {
        for id in &ids {
            let session = agent.node.session(id).await.unwrap();
            if session.phase() == Phase::Ended {
                return Some(session);
            }
        }
        None
    })
    .await;
    host.available(90);
    assert_eq!(victim.end_reason(), EndReason::SubstrateDown);
    let why = victim.failure.unwrap().message;
    assert_eq!(why, "the host's memory is critical");
    agent.node.stands("memory", ConditionLevel::Ok).await;
    for (id, client) in ids.iter().zip(&mut clients) {
        if *id != victim.id {
            let lives = agent.node.session(id).await.unwrap();
            assert_eq!(lives.phase(), Phase::Ready);
            client
                .call("Browser.getVersion", serde_json::json!({}))
                .await
                .unwrap();
        }
    }
}
