//! The systemd units, on a real systemd: what a restart, a hang, a stop of each does to sessions.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chaser::runtime::Tasks;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::Instant};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Cdp, Lab, Machine, Pki, eventually, lab, seconds};

pub const ALL: &str =
    "chaser.target chaser-node chaser-relay chaser-relay.socket chaser-api chaser-drain";

/// Overall exposure of each unit by `systemd-analyze security`, in tenths: 0 is nothing, 100 all. It may
/// fall, and then this is to be lowered; where it must rise, the unit says why.
const EXPOSURE: &[(&str, u32)] = &[
    ("chaser-node.service", 35),
    ("chaser-relay.service", 17),
    ("chaser-api.service", 15),
    ("chaser-drain.service", 11),
];

#[test]
fn no_unit_is_more_exposed_than_is_recorded() {
    for (unit, recorded) in EXPOSURE {
        let path = format!("{}/systemd/{unit}", env!("CARGO_MANIFEST_DIR"));
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", &path])
            .output()
            .expect("systemd-analyze is installed: `make setup`");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let overall = said.lines().find(|line| line.contains("Overall exposure"));
        let score = overall.and_then(|line| line.split(": ").nth(1)?.split(' ').next());
        let score: f64 = score
            .and_then(|score| score.parse().ok())
            .unwrap_or_else(|| panic!("{unit}: {said}{}", String::from_utf8_lossy(&output.stderr)));
        let recorded = f64::from(*recorded) / 10.0;
        assert!(
            score <= recorded,
            "{unit}: {score}, recorded {recorded}\n{said}"
        );
        assert!(score >= recorded, "{unit} became better: record {score}");
    }
}

/// A client that asks the browser all the time.
pub struct Traffic {
    tasks: Tasks,
    answers: Arc<AtomicU64>,
    failed: oneshot::Receiver<String>,
}

impl Traffic {
    pub async fn on(url: &str) -> Self {
        let mut cdp = Cdp::open(url).await;
        let (tasks, answers) = (Tasks::default(), Arc::<AtomicU64>::default());
        let (fail, failed) = oneshot::channel();
        let counted = Arc::clone(&answers);
        tasks.spawn("traffic", |stop| async move {
            while !stop.is_cancelled() {
                match cdp.call("Browser.getVersion", json!({})).await {
                    Ok(_) => counted.fetch_add(1, Ordering::Relaxed),
                    Err(error) => return fail.send(error).unwrap(),
                };
            }
        });
        let mut traffic = Self {
            tasks,
            answers,
            failed,
        };
        traffic.goes_on().await;
        traffic
    }

    /// A hundred answers more.
    pub async fn goes_on(&mut self) {
        let before = self.answers.load(Ordering::Relaxed);
        eventually("the client is answered", seconds(20), async || {
            let failed = self.failed.try_recv();
            assert!(failed.is_err(), "the client was cut: {failed:?}");
            (self.answers.load(Ordering::Relaxed) > before + 100).then_some(())
        })
        .await;
    }

    pub async fn end(mut self) {
        self.goes_on().await;
        self.tasks.drain(seconds(20)).await.unwrap();
    }
}

pub async fn booted(lab: &Lab, config: &str) -> Machine {
    let machine = Machine::boot(lab, config).await;
    machine.install();
    machine
}

pub async fn started(machine: &Machine) {
    machine.must("systemctl start chaser.target");
    machine.is_active(ALL, seconds(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_is_replaced_and_neither_that_nor_a_restart_is_felt() {
    let (lab, _origin) = lab();
    let machine = booted(&lab, "").await;
    machine.drop_in("chaser-node.service", "[Service]\nWatchdogSec=4s\n");
    started(&machine).await;
    assert_eq!(machine.shows("chaser-node", "StatusText"), "ready");
    // Each field of a line is one of its entry in the journal, and is in the line as well.
    let api = machine.api.base().trim_start_matches("http://");
    let entry = machine.must(&format!("journalctl --output json CHASER_API={api}"));
    let entry: Value = serde_json::from_str(&entry).unwrap();
    assert_eq!(entry["MESSAGE"], format!("ready api={api}"), "{entry}");
    assert_eq!(entry["_SYSTEMD_UNIT"], "chaser-api.service", "{entry}");
    assert_eq!(entry["PRIORITY"], "6", "{entry}");
    for unit in ["chaser-node", "chaser-relay", "chaser-api"] {
        let entries = machine.must(&format!(
            "journalctl --unit {unit} --output json _TRANSPORT=journal"
        ));
        assert!(
            entries.contains("\"TARGET\":\"chaser::"),
            "{unit}: {entries}"
        );
    }
    let session = machine.api.ready_session().await;
    let mut traffic = Traffic::on(&session.cdp_url).await;
    let (relay, first) = (
        machine.main_pid("chaser-relay"),
        machine.main_pid("chaser-node"),
    );

    machine.must(&format!("kill -STOP {first}"));
    eventually("the watchdog replaces it", seconds(30), async || {
        let now = machine.main_pid("chaser-node");
        (now != first && now != 0).then_some(())
    })
    .await;
    machine.is_active("chaser-node", seconds(30)).await;
    assert_eq!(machine.shows("chaser-node", "NRestarts"), "1");
    let journal = machine.must("journalctl --boot --no-pager --unit chaser-node");
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    traffic.goes_on().await;
    assert_eq!(session.get().await["status"], "ready");

    for _ in 0..3 {
        machine.must("systemctl restart chaser-node");
        traffic.goes_on().await;
    }
    machine.must("systemctl restart chaser-api");
    machine.is_active(ALL, seconds(30)).await;
    traffic.end().await;
    assert_eq!(
        machine.main_pid("chaser-relay"),
        relay,
        "the relay lived on"
    );
    assert_eq!(session.delete().await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_restarted_or_killed_refuses_no_client_and_keeps_every_session() {
    let (lab, _origin) = lab();
    let machine = booted(&lab, "").await;
    started(&machine).await;
    let session = machine.api.ready_session().await;
    Cdp::open(&session.cdp_url).await;
    for line in [
        "systemctl restart --no-block chaser-relay",
        "systemctl kill -s KILL chaser-relay",
    ] {
        let before = machine.main_pid("chaser-relay");
        machine.must(line);
        // At any moment of it: whoever dials waits, and is served by the next one.
        eventually("another relay serves", seconds(20), async || {
            let mut cdp = Cdp::connect(&session.cdp_url).await.ok()?;
            let answered = cdp.call("Browser.getVersion", json!({})).await.is_ok();
            (answered && machine.main_pid("chaser-relay") != before).then_some(())
        })
        .await;
    }
    let ours = |said: &str| said.contains("bound session=");
    // As `top` prints it; and both are units, so what they said is in the journal.
    let printed = &session.id[..23];
    let logs = machine.must(&format!("chaser logs {printed}… --json"));
    let logs: Value = serde_json::from_str(&logs).unwrap();
    assert!(ours(&logs["relay"].to_string()), "{logs}");
    assert!(logs["agent"].to_string().contains("phase=ready"), "{logs}");
    machine.must("chaser support-bundle --output /tmp/bundle");
    let journal = machine.must("cat /tmp/bundle/journal.txt");
    assert!(
        ours(&journal) && !journal.contains(&session.id),
        "{journal}"
    );
    let capabilities = machine.must(&format!(
        "grep -E 'Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs|Uid' /proc/{}/status",
        machine.main_pid("chaser-relay")
    ));
    assert_eq!(
        capabilities.matches("0000000000000000").count(),
        4,
        "{capabilities}"
    );
    assert!(!capabilities.contains("Uid:\t0"), "{capabilities}");
    assert_eq!(session.get().await["status"], "ready");
    assert_eq!(session.delete().await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_the_target_drains_for_longer_than_its_time_out_and_the_next_start_is_in_service()
{
    let (lab, _origin) = lab();
    let machine = booted(&lab, "[node]\ndrain_deadline = \"15s\"\n").await;
    machine.drop_in("chaser-drain.service", "[Service]\nTimeoutStopSec=5s\n");
    started(&machine).await;
    let session = machine.api.ready_session().await;
    let began = Instant::now();
    // The stop of a target does not wait for what is part of it.
    machine.must(&format!("systemctl stop {ALL}"));
    assert!(
        began.elapsed() >= seconds(14),
        "the sessions had their time"
    );
    assert_eq!(machine.shows("chaser-drain", "Result"), "success");
    for unit in ["chaser-node", "chaser-relay", "chaser-api", "chaser-drain"] {
        assert_eq!(machine.shows(unit, "ActiveState"), "inactive", "{unit}");
        assert_eq!(machine.shows(unit, "Result"), "success", "{unit}");
    }
    eventually("its container is gone", seconds(10), async || {
        machine.containers().is_empty().then_some(())
    })
    .await;

    started(&machine).await;
    let ended = session.wait_for("closed").await;
    assert_eq!(ended["ended_reason"], "substrate_down");
    let next = machine.api.ready_session().await;
    assert_eq!(next.delete().await.status, 204);
}

/// Puts the server's certificate where the configuration says, for both units to read.
fn certify(machine: &Machine, pki: &Pki) {
    machine.must("mkdir -p /etc/chaser/tls");
    for file in ["ca.pem", "server.pem", "server.key"] {
        let from = pki.path(file);
        machine.copy(from.to_str().unwrap(), &format!("/etc/chaser/tls/{file}"));
    }
    machine.must("cd /etc/chaser/tls && chgrp chaser server.key && chmod 0640 server.key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_shows_renewed_certificates_and_cuts_nobody() {
    let (lab, _origin) = lab();
    std::fs::create_dir_all(lab.state_dir()).unwrap();
    let pki = Pki::init(&lab.state_dir().join("pki"));
    let config =
        "[tls]\ncert = \"/etc/chaser/tls/server.pem\"\nkey = \"/etc/chaser/tls/server.key\"\n";
    let machine = booted(&lab, config).await;
    certify(&machine, &pki);
    started(&machine).await;
    let api = machine.api.base().trim_start_matches("http://").to_owned();
    let operator = |words: &str| {
        machine.must(&format!(
            "CHASER_API_URL=https://{api} CHASER_API_CA=/etc/chaser/tls/ca.pem CHASER_API_KEY=sk_test \
             chaser session {words} --json"
        ))
    };
    let session: Value = serde_json::from_str(&operator("create --wait")).unwrap();
    let url = session["cdp_url"].as_str().unwrap();
    let plain = url.replace("wss://", "ws://");
    assert_ne!(plain, url, "it says wss");
    let cdp = machine.cdp.to_string();
    let stream = pki.dial(&cdp, (&pki, None), "http/1.1").await.unwrap();
    let (mut client, _) = tokio_tungstenite::client_async(plain, stream)
        .await
        .unwrap();
    let mut answered = async |number: u64| {
        let command = json!({ "id": number, "method": "Browser.getVersion" });
        client
            .send(Message::text(command.to_string()))
            .await
            .unwrap();
        let answer = client.next().await.unwrap().unwrap();
        let answer: Value = serde_json::from_str(answer.to_text().unwrap()).unwrap();
        assert_eq!(answer["id"], number, "{answer}");
    };
    answered(1).await;

    let before = ["chaser-node", "chaser-relay", "chaser-api"].map(|unit| machine.main_pid(unit));
    pki.issue("server", &["--host", "localhost", "--host", "127.0.0.1"]);
    certify(&machine, &pki);
    machine.must("systemctl reload chaser-node chaser-api");
    for address in [&cdp, &api] {
        eventually("the renewed one is shown", seconds(10), async || {
            let dialled = pki.dial(address, (&pki, None), "http/1.1").await;
            let shown = dialled.unwrap().get_ref().1.peer_certificates().unwrap()[0].clone();
            (shown == pki.server()).then_some(())
        })
        .await;
    }
    answered(2).await;
    let after = ["chaser-node", "chaser-relay", "chaser-api"].map(|unit| machine.main_pid(unit));
    assert_eq!(after, before);
    machine.is_active(ALL, seconds(10)).await;
    operator(&format!("delete {}", session["id"].as_str().unwrap()));
}
