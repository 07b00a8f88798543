//! What an operator looks with: `top`, `events`, `logs`, `support-bundle`.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::harness::{Cdp, Chaser, eventually, lab, seconds};

async fn says(chaser: &Chaser, words: &[&str]) -> String {
    let run = chaser
        .command(words)
        .env("CHASER_RUNTIME_DIR", &chaser.runtime_dir)
        .env("CHASER_STATE_DIR", chaser.state_dir.join("S"))
        .env(
            "CHASER_ADMIN_LISTEN",
            chaser.admin.trim_start_matches("http://"),
        )
        .output();
    let output = run.await.unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{words:?}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn top_shows_what_a_session_takes() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let mut cdp = Cdp::open(&session.cdp_url).await;
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
    let top = says(&chaser, &["top", "--interval", "1s", "--json"]).await;
    let top: Value = serde_json::from_str(&top).unwrap();
    let line = &top["sessions"][0];
    assert_eq!(line["state"], "ready");
    assert_eq!(line["cdp_clients"], 1);
    assert!(
        line["memory_bytes"].as_u64().unwrap() > 30_000_000,
        "{line}"
    );
    assert!(line["cpu_percent"].as_f64().unwrap() >= 0.0, "{line}");
    assert!(line["ip"].as_str().unwrap().starts_with("10.77."), "{line}");
    let table = says(&chaser, &["top", "--interval", "1s"]).await;
    let header = table
        .lines()
        .find(|line| line.starts_with("SESSION"))
        .unwrap();
    for column in ["STATE", "DEVICE", "IP", "CPU %", "MEMORY", "AGE"] {
        assert!(header.contains(column), "{table}");
    }
    assert!(
        table.contains(&session.id[..23]) && !table.contains(&session.id),
        "{table}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_followed_across_a_restart() {
    let (lab, _origin) = lab();
    let mut chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let held = says(&chaser, &["events", "--json"]).await;
    let held: Vec<Value> = held
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let phases = held.iter().filter(|event| event["event"] == "session");
    let phases: Vec<_> = phases
        .map(|event| event["data"]["phase"].as_str().unwrap())
        .collect();
    assert_eq!(phases, ["creating", "ready"]);

    let mut follow = chaser
        .command(&["events", "--follow"])
        .env("CHASER_RUNTIME_DIR", &chaser.runtime_dir)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut until = async |word: &str| {
        let found = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it goes on");
                if line.contains(word) {
                    return line;
                }
            }
        };
        tokio::time::timeout(seconds(30), found)
            .await
            .expect("it is told")
    };
    let line = until("phase=ready").await;
    assert!(
        line.contains(&session.id[..23]) && !line.contains(&session.id),
        "{line}"
    );
    chaser.sigkill();
    chaser.restart().await;
    assert_eq!(session.delete().await.status, 204);
    until("reason=client_delete").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_a_session_and_a_bundle_without_secrets() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let logs = says(&chaser, &["logs", &session.id, "--json"]).await;
    let logs: Value = serde_json::from_str(&logs).unwrap();
    let relay = logs["relay"].to_string();
    let printed = format!("{}…", &session.id[..23]);
    let again = says(&chaser, &["logs", &printed, "--json"]).await;
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["relay"], logs["relay"], "as it is printed");
    assert!(relay.contains("bound session="), "{logs}");
    assert!(
        logs["browser"].is_array() && logs["agent"].is_array(),
        "{logs}"
    );

    let config = chaser.state_dir.join("secret.toml");
    let text = "[api]\nkeys = [\"sk_very_secret\"]\n";
    std::fs::write(&config, text).unwrap();
    let folder = chaser.state_dir.join("bundle");
    let words = [
        "support-bundle",
        "--output",
        folder.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
    ];
    says(&chaser, &words).await;
    let key = std::fs::read_to_string(chaser.state_dir.join("S/operator.key")).unwrap_or_default();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        for secret in [session.id.as_str(), "sk_very_secret", "sk_test", key.trim()] {
            assert!(
                secret.is_empty() || !text.contains(secret),
                "{name}: {text}"
            );
        }
        names.push(name);
    }
    for name in [
        "node.json",
        "sessions.json",
        "metrics.txt",
        "chaser.toml",
        "relay.log",
        "doctor.json",
    ] {
        assert!(
            names.iter().any(|there| there == name),
            "no {name}: {names:?}"
        );
    }
    let sessions = std::fs::read_to_string(folder.join("sessions.json")).unwrap();
    assert!(sessions.contains(&session.id[..23]), "{sessions}");
    eventually(
        "nothing of doctor's trial is left",
        seconds(20),
        async || {
            let left = crate::harness::docker::containers_of(&chaser.node_id);
            (left.len() == 1).then_some(())
        },
    )
    .await;
}
