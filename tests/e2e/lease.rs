//! The fence: a node whose control plane has given it up sends nothing, and loses nothing.

use chaser::wire::node::{
    EndReason, Lease, Phase, ReconcileRequest, RenewLeaseRequest, RenewLeaseResponse,
};
use serde_json::json;
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::harness::{
    Agent, Client, Library, eventually, lab, processes, seconds, session_id, spec,
};

async fn renew(
    agent: &Agent,
    epoch: u64,
    ttl: i64,
    owned: Option<ReconcileRequest>,
) -> Result<Lease, Status> {
    let request = RenewLeaseRequest {
        epoch,
        ttl: Some(prost_types::Duration {
            seconds: ttl,
            nanos: 0,
        }),
        owned,
    };
    let answer = agent.node.dial().await.renew_lease(request).await?;
    let RenewLeaseResponse { lease } = answer.into_inner();
    Ok(lease.unwrap())
}

/// Whether a page's request arrives within two seconds.
async fn arrives(client: &mut Client) -> bool {
    let script = "fetch('/bytes/10', { signal: AbortSignal.timeout(2000), cache: 'no-store' })
        .then((r) => r.arrayBuffer()).then(() => true, () => false)";
    client.evaluate(script).await == json!(true)
}

async fn session(agent: &Agent) -> String {
    let id = session_id();
    let made = agent.node.provision(&id, spec(seconds(600))).await.unwrap();
    assert_eq!(made.phase(), Phase::Ready);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn egress_stops_before_a_lease_runs_out_and_goes_on_with_its_owner() {
    let (lab, origin) = lab();
    let mut agent = Agent::start(&lab, "[node]\nfence = true\norphan_grace = \"1s\"").await;
    let mine = session(&agent).await;
    let ip = agent.node.session(&mine).await.unwrap().egress_ip;
    let ip = ip.parse().unwrap();
    let url = format!("ws://{}/sessions/{mine}", agent.cdp);
    let mut client = Library::Patchright.connect(&url).await;
    client.goto(&origin.http("/")).await;
    assert!(
        arrives(&mut client).await,
        "no lease was ever granted: no fence"
    );

    let granted = renew(&agent, 7, 5, None).await.unwrap();
    assert!(!granted.suspended);
    assert!(arrives(&mut client).await);
    // Nobody renews; the agent is not needed for what follows.
    agent.sigkill();
    sleep(seconds(4)).await;
    let before = origin.bytes_of(ip);
    assert!(
        !arrives(&mut client).await,
        "suspended a second before the end"
    );
    assert_eq!(origin.bytes_of(ip), before, "and nothing was sent");
    assert_eq!(client.evaluate("1 + 1").await, 2, "CDP goes on");

    agent.launch();
    agent.wait_until(chaser::wire::node::NodeState::Ready).await;
    let status = agent.node.status().await.lease.unwrap();
    assert!(status.suspended && status.epoch == 7, "{status:?}");
    let old = renew(&agent, 6, 60, None).await.unwrap_err();
    assert_eq!(old.code(), Code::FailedPrecondition);
    assert!(
        !arrives(&mut client).await,
        "an owner from before renews nothing"
    );
    renew(&agent, 7, 60, None).await.unwrap();
    assert!(arrives(&mut client).await, "the same owner is back");

    // A relay that is started again is told; and a lease that lapses under it counts there too.
    renew(&agent, 7, 3, None).await.unwrap();
    let relay = agent.relay_pid();
    processes::kill(relay);
    sleep(seconds(4)).await;
    let mut client = Library::Patchright.connect(&url).await;
    assert!(
        !arrives(&mut client).await,
        "a new relay knows of the fence"
    );
    renew(&agent, 7, 60, None).await.unwrap();
    assert!(arrives(&mut client).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_owner_ends_only_what_it_does_not_know_and_only_when_it_says_what_it_knows() {
    let (lab, _origin) = lab();
    let agent = Agent::start(&lab, "[node]\nfence = true\norphan_grace = \"1s\"").await;
    let (mine, lost) = (session(&agent).await, session(&agent).await);
    renew(&agent, 7, 60, None).await.unwrap();
    renew(&agent, 8, 60, None).await.unwrap();
    sleep(seconds(3)).await;
    for id in [&mine, &lost] {
        assert_eq!(agent.node.session(id).await.unwrap().phase(), Phase::Ready);
    }
    let owned = ReconcileRequest {
        owned_session_ids: vec![mine.clone()],
        owns_nothing: false,
        grace: None,
    };
    renew(&agent, 9, 60, Some(owned)).await.unwrap();
    eventually(
        "what the owner does not know ends",
        seconds(10),
        async || {
            let session = agent.node.session(&lost).await.unwrap();
            (session.phase() == Phase::Ended && session.end_reason() == EndReason::AbandonedOrphan)
                .then_some(())
        },
    )
    .await;
    assert_eq!(
        agent.node.session(&mine).await.unwrap().phase(),
        Phase::Ready
    );
}
