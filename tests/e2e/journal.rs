//! A journal that is damaged while sessions live: nothing of theirs is lost with it.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::harness::{Chaser, Client, Library, eventually, lab, processes, seconds};

/// Leaves the first page and a little: what a torn copy or a failing disk leaves.
fn tear(state_dir: &Path) {
    let journal = state_dir.join("S/node.db");
    let file = fs::OpenOptions::new().write(true).open(&journal).unwrap();
    file.set_len(5_000).unwrap();
    for log in ["S/node.db-wal", "S/node.db-shm"] {
        drop(fs::remove_file(state_dir.join(log)));
    }
}

/// The file that was put aside, as `chaser node status` tells it.
async fn damage(chaser: &Chaser) -> String {
    let output = chaser
        .command(&["node", "status", "--json", "--runtime-dir"])
        .arg(&chaser.runtime_dir)
        .output()
        .await
        .unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    status["journal_damage"].as_str().unwrap().to_owned()
}

async fn arrivals(client: &mut Client) -> u64 {
    client.must("loop_count", json!({})).await["arrived"]
        .as_u64()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_journal_is_put_aside_and_every_session_goes_on() {
    let (lab, origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let (one, two) = tokio::join!(chaser.api.ready_session(), chaser.api.ready_session());
    let over = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&one.cdp_url).await;
    let urls = ["/a", "/b"].map(|path| origin.http(path));
    client.must("loop", json!({ "urls": urls })).await;
    let before = one.get().await;
    let addresses = (one.egress_ip().await, two.egress_ip().await);

    chaser.sigkill();
    tear(&chaser.state_dir);
    // One that ends while nobody but the relay can write it down.
    let container = docker_of(&chaser, &over.id);
    crate::harness::docker::kill(&container);
    chaser.restart().await;

    let told = damage(&chaser).await;
    assert!(told.contains("node.db.damaged-"), "{told}");
    let kept = fs::read_dir(chaser.state_dir.join("S"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .find(|name| name.starts_with("node.db.damaged-"))
        .expect("it is kept");
    let length = fs::metadata(chaser.state_dir.join("S").join(kept))
        .unwrap()
        .len();
    assert_eq!(length, 5_000);

    let so_far = arrivals(&mut client).await;
    eventually("the client navigates on", seconds(20), async || {
        (arrivals(&mut client).await > so_far + 3).then_some(())
    })
    .await;
    let stopped = client.must("loop_stop", json!({})).await;
    assert_eq!(stopped["failures"], json!([]));
    assert!(!client.was_disconnected());
    let after = one.get().await;
    for field in ["status", "device", "proxy_ip", "created_at", "expires_at"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(two.get().await["status"], "ready");
    assert_eq!(
        over.wait_for("closed").await["ended_reason"],
        "substrate_down"
    );
    let fresh = chaser.api.ready_session().await.egress_ip().await;
    assert!(
        fresh != addresses.0 && fresh != addresses.1,
        "the addresses are remembered"
    );
    for session in [one, two] {
        assert_eq!(session.delete().await.status, 204);
    }
}

fn docker_of(chaser: &Chaser, session: &str) -> String {
    // The record names the instance: what an operator has without an agent.
    let records = processes::files_below(&chaser.runtime_dir.join("instances"));
    let record = records
        .iter()
        .find(|path| fs::read_to_string(path).unwrap().contains(session))
        .expect("a record for each session");
    let instance = record.file_name().unwrap().to_str().unwrap();
    format!("chaser-{instance}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_lost_together_with_the_relay_is_rebuilt_from_the_records() {
    let (lab, origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/before")).await;
    let bytes = session.get().await["bytes_down"].as_u64().unwrap();
    let relay = chaser.relay_pid();
    chaser.sigkill();
    processes::kill(relay);
    fs::remove_file(chaser.state_dir.join("S/node.db")).unwrap();
    chaser.restart().await;
    assert!(damage(&chaser).await.contains("missing"));
    let mut again = Library::Patchright.connect(&session.cdp_url).await;
    assert_eq!(again.evaluate("location.pathname").await, "/before");
    again.goto(&origin.http("/after")).await;
    eventually("the meter goes on", seconds(5), async || {
        (session.get().await["bytes_down"].as_u64().unwrap() > bytes).then_some(())
    })
    .await;
    assert_eq!(session.delete().await.status, 204);
}
