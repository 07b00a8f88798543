//! Android devices as sessions.

use chaser::wire::node::{SessionSpec, Substrate};
use serde_json::Value;
use tonic::Code;

use crate::harness::{Chaser, lab, seconds, session_id, spec};

const DEVICES: [Substrate; 3] = [
    Substrate::Emulator,
    Substrate::Redroid,
    Substrate::Cuttlefish,
];

fn order(substrate: Substrate) -> SessionSpec {
    SessionSpec {
        substrate: substrate.into(),
        ..spec(seconds(900))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_host_cannot_run_is_listed_and_refused_with_its_reason() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let status = chaser.node.status().await;
    let kinds: Vec<_> = status
        .substrates
        .iter()
        .map(|one| one.substrate())
        .collect();
    assert_eq!(kinds[0], Substrate::Chromium);
    assert_eq!(kinds[1..], DEVICES);
    assert_eq!(status.substrates[0].capacity, status.max_sessions);
    for one in &status.substrates[1..] {
        assert_eq!(one.capacity, 0, "{one:?}");
        let id = session_id();
        let refused = chaser.node.provision(&id, order(one.substrate())).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains(&one.reason), "{refused}");
        let unknown = chaser.node.session(&id).await.unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound, "nothing was made");
    }

    let config = chaser.state_dir.join("chaser.toml");
    let output = chaser
        .command(&["doctor", "--config", config.to_str().unwrap(), "--json"])
        .output();
    let report: Value = serde_json::from_slice(&output.await.unwrap().stdout).unwrap();
    let listed = report["substrates"].as_array().unwrap();
    for (said, one) in listed.iter().zip(&status.substrates).skip(1) {
        assert_eq!(said["capacity"], 0, "{said}");
        assert_eq!(said["reason"], one.reason, "{said}");
    }
    assert!(listed[0]["capacity"].as_u64().unwrap() > 0, "{report}");
}
