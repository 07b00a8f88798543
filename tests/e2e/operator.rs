//! What an operator types and reads: the self-check of `make run` with its commands to copy, and the CLI.

use std::{
    os::unix::fs::symlink,
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::harness::{Chaser, Session, Setup, eventually, lab, seconds};

/// One of the operator's commands against this daemon; its exit code and what it printed.
async fn chaser_says(chaser: &Chaser, words: &[&str]) -> (i32, String) {
    let run = chaser
        .command(words)
        .env("CHASER_API_URL", chaser.api.base())
        .env("CHASER_API_KEY", "sk_test")
        .env("CHASER_RUNTIME_DIR", &chaser.runtime_dir)
        .env("CHASER_STATE_DIR", chaser.state_dir.join("S"))
        .output();
    said(run.await.unwrap())
}

fn said(output: Output) -> (i32, String) {
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

/// A command that does what it says and prints JSON.
async fn json(chaser: &Chaser, words: &[&str]) -> Value {
    let (code, text) = chaser_says(chaser, words).await;
    assert_eq!(code, 0, "{words:?}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error}: {text}"))
}

/// What is printed once the self-check has passed.
async fn banner(chaser: &Chaser) -> String {
    eventually("the commands are printed", seconds(60), async || {
        let logs = chaser.logs();
        logs.contains("ctrl-C ends every session").then_some(logs)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_self_check_meters_a_real_page() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab).with("--self-check").start().await;
    let text = banner(&chaser).await;
    assert!(text.contains("self-check passed in"), "{text}");
    let metered = text
        .lines()
        .find(|line| line.trim_start().starts_with("metered"))
        .unwrap();
    let bytes: Vec<u64> = metered
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [up, down] = bytes[..] else {
        panic!("two counts: {metered}")
    };
    assert!(up > 100 && down > 100, "{metered}");
    // It ran in a workspace of its own, which has ended its session.
    let listed = chaser.api.get("/v1/sessions").await;
    assert_eq!(listed.body["data"], serde_json::json!([]));
    let status = json(&chaser, &["node", "status", "--json"]).await;
    assert_eq!(status["sessions"]["ready"], 0, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_can_be_copied() {
    let (lab, origin) = lab();
    let chaser = Setup::on(&lab).with("--self-check").start().await;
    let text = banner(&chaser).await;
    let (_, printed) = text.split_once("Try it:").unwrap();
    let (shell, script) = printed.split_once("With Patchright").unwrap();
    let (_, script) = script.split_once("try.mjs:").unwrap();
    let (script, _) = script.split_once("ctrl-C").unwrap();

    // The session's id is the one word that a person fills in.
    let id = ")\nID=$(sed -E 's/.*\"id\":\"([^\"]*)\".*/\\1/' <<<\"$made\")\n";
    let typed = format!("set -eu\n{shell}")
        .replacen("curl -sX POST", "made=$(curl -sX POST", 1)
        .replacen("1800}'", &format!("1800}}'{id}"), 1)
        .replace("SESSION_ID", "$ID");
    let (code, answers) = in_bash(&chaser.state_dir, &typed).await;
    assert_eq!(code, 0, "{answers}");
    assert!(answers.contains("\"object\":\"session\""), "{answers}");
    let listed = chaser.api.get("/v1/sessions").await.body;
    assert_eq!(
        listed["data"][0]["ended_reason"], "client_delete",
        "{listed}"
    );

    // No test leaves this machine: the page is the lab's.
    let script = script.replace("https://example.com", &origin.http("/hello"));
    std::fs::write(chaser.state_dir.join("try.mjs"), script).unwrap();
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node_modules");
    symlink(packages, chaser.state_dir.join("node_modules")).unwrap();
    let export = shell.lines().find(|line| line.contains("export")).unwrap();
    let (code, told) = in_bash(&chaser.state_dir, &format!("{export}\nnode try.mjs")).await;
    assert_eq!(code, 0, "{told}");
    assert!(told.starts_with("Android 10 - Chrome "), "{told}");
    assert!(told.trim_end().ends_with("(Mobile) - origin"), "{told}");
    let listed = chaser.api.get("/v1/sessions").await.body;
    assert_eq!(
        listed["data"][0]["ended_reason"], "client_delete",
        "{listed}"
    );
}

async fn in_bash(folder: &Path, typed: &str) -> (i32, String) {
    let run = tokio::process::Command::new("bash")
        .args(["-c", typed])
        .current_dir(folder)
        .env("no_proxy", "*")
        .kill_on_drop(true)
        .output();
    said(
        tokio::time::timeout(seconds(60), run)
            .await
            .unwrap()
            .unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_made_watched_and_deleted_from_a_shell() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let made = json(
        &chaser,
        &["session", "create", "--wait", "--ttl", "600", "--json"],
    )
    .await;
    assert_eq!(made["status"], "ready");
    let id = made["id"].as_str().unwrap();
    let session: Session = chaser.api.adopt(&made);

    let watch = chaser
        .command(&["session", "watch", id])
        .env("CHASER_API_URL", chaser.api.base())
        .env("CHASER_API_KEY", "sk_test")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let got = json(&chaser, &["session", "get", id, "--json"]).await;
    assert_eq!(got["expires_at"], made["expires_at"]);
    let listed = json(&chaser, &["session", "list", "--json"]).await;
    assert_eq!(listed["data"][0]["id"], id);
    let (code, table) = chaser_says(&chaser, &["session", "list"]).await;
    assert!(code == 0 && table.starts_with("SESSION") && table.contains(id));
    let inspected = json(&chaser, &["node", "inspect", id, "--json"]).await;
    for field in ["session", "instance", "container", "pid", "route", "relay"] {
        assert!(!inspected[field].is_null(), "{field}: {inspected}");
    }
    assert_eq!(inspected["relay"], chaser.relay_pid());

    assert_eq!(chaser_says(&chaser, &["session", "delete", id]).await.0, 0);
    let watched = tokio::time::timeout(seconds(10), watch.wait_with_output()).await;
    let (code, seen) = said(watched.unwrap().unwrap());
    assert_eq!(code, 0, "{seen}");
    let last = seen.lines().last().unwrap();
    assert!(
        last.starts_with("closed") && last.ends_with("client_delete"),
        "{seen}"
    );
    let (code, again) = chaser_says(&chaser, &["session", "delete", id]).await;
    assert!(code == 1 && again.contains("session_not_open"), "{again}");
    let (code, other) = chaser_says(&chaser, &["session", "create", "--ttl", "59"]).await;
    assert!(code == 1 && other.contains("`ttl_seconds`"), "{other}");
    assert_eq!(session.get().await["status"], "closed");
    let away = ["session", "list", "--api", "http://127.0.0.1:1"];
    assert_eq!(chaser_says(&chaser, &away).await.0, 69);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_has_a_line_for_everything_that_a_host_needs() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let config = chaser.state_dir.join("chaser.toml");
    let config = config.to_str().unwrap();
    let report = json(&chaser, &["doctor", "--config", config, "--json"]).await;
    let probes = report["probes"].as_array().unwrap();
    for name in [
        "root",
        "docker",
        "live-restore",
        "log-driver",
        "cgroups",
        "sandbox",
        "namespace",
        "runtime-dir",
        "disk",
        "memory",
        "ports",
        "tls",
        "privileged",
        "egress",
        "image",
    ] {
        let probe = probes.iter().find(|probe| probe["name"] == name);
        let probe = probe.unwrap_or_else(|| panic!("no {name}: {report}"));
        let outcome = probe["outcome"].as_str().unwrap();
        assert!(["ok", "warning", "failed"].contains(&outcome), "{probe}");
        assert_eq!(outcome == "ok", probe["mend"].is_null(), "{probe}");
    }
    for proven in ["sandbox", "namespace"] {
        let probe = probes.iter().find(|probe| probe["name"] == proven).unwrap();
        assert_eq!(probe["outcome"], "ok", "{probe}");
    }

    // On a host that cannot: the same lines, and an exit code.
    std::fs::write(
        chaser.state_dir.join("broken.toml"),
        "[node]\ndocker = \"/nowhere.sock\"\n",
    )
    .unwrap();
    let broken = chaser.state_dir.join("broken.toml");
    let words = ["doctor", "--config", broken.to_str().unwrap()];
    let (code, text) = chaser_says(&chaser, &words).await;
    assert_eq!(code, 1, "{text}");
    let failed = text.lines().find(|line| line.starts_with("failed"));
    assert!(failed.is_some_and(|line| line.contains("docker")), "{text}");
    assert!(text.contains("mend: "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_keys_completions_and_manual_pages_are_there() {
    let (lab, _origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let images = json(&chaser, &["image", "list", "--json"]).await;
    let named = |image: &Value| {
        image["names"]
            .to_string()
            .contains("chaser/chromium:latest")
    };
    assert!(images.as_array().unwrap().iter().any(named), "{images}");

    let key = json(&chaser, &["key", "create", "--json"]).await;
    let key = key["key"].as_str().unwrap();
    let made = chaser.api.with_key(key).get("/v1/sessions").await;
    assert_eq!(made.status, 200);
    let store = std::fs::read(chaser.state_dir.join("S/control.db")).unwrap();
    let log = std::fs::read(chaser.state_dir.join("S/control.db-wal")).unwrap();
    let at_rest = [store, log].concat();
    let clear = at_rest
        .windows(key.len())
        .any(|bytes| bytes == key.as_bytes());
    assert!(!clear, "only the key's hash is at rest");
    let (code, revoked) = chaser_says(&chaser, &["key", "revoke", &key[..8]]).await;
    assert_eq!(code, 0, "{revoked}");
    let refused = chaser.api.with_key(key).get("/v1/sessions").await;
    refused.refused(401, "unauthorized");

    let (code, script) = chaser_says(&chaser, &["completions", "bash"]).await;
    assert!(code == 0 && script.contains("_chaser()"), "{script}");
    let pages = chaser.state_dir.join("man");
    let (code, told) = chaser_says(&chaser, &["man", pages.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{told}");
    assert!(pages.join("chaser-session-create.1").exists());
}
