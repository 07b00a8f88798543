//! Hooks: a receiver that is down, slow, or fails; nothing is lost and nothing blocks a session.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chaser::wire::node::NodeState;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};

use crate::harness::{Agent, Got, Lab, Receiver, eventually, lab, seconds, session_id, spec};

const KEY: &str = "whsec_0123456789";

/// An agent that posts to a port of this lab, and the address.
async fn agent(lab: &Lab, more: &str) -> (Agent, String) {
    let address = format!("127.0.0.1:{}", lab.port(5));
    std::fs::create_dir_all(lab.state_dir()).unwrap();
    let key = lab.state_dir().join("hook.key");
    std::fs::write(&key, format!("{KEY}\n")).unwrap();
    let config = format!(
        "[hooks]\nurl = \"http://{address}/hook?for=test\"\nsecret_file = \"{}\"\n{more}\n",
        key.display()
    );
    (Agent::start(lab, &config).await, address)
}

/// What every receiver should do before it believes a letter.
fn is_signed(got: &Got) {
    let (time, mac) = got.header("chaser-signature").split_once(",v1=").unwrap();
    let time = time.strip_prefix("t=").unwrap();
    let mut expected = Hmac::<sha2::Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
    expected.update(format!("{time}.{}", got.body).as_bytes());
    let expected = expected.finalize().into_bytes();
    let expected: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(mac, expected, "{got:?}");
    let age = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    assert!(age.abs_diff(time.parse().unwrap()) < 120, "{got:?}");
    assert_eq!(got.header("idempotency-key"), got.json()["id"]);
    assert_eq!(got.header("chaser-event"), got.json()["event"]);
    assert_eq!(
        (got.method.as_str(), got.path.as_str()),
        ("POST", "/hook?for=test")
    );
}

/// The subjects of endings, each by the keys of the letters that told it.
fn endings(got: &[Got]) -> BTreeMap<String, BTreeSet<String>> {
    let mut endings: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for letter in got.iter().map(Got::json) {
        if letter["event"] == "session.ended" {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let keys = endings
                .entry(text(&letter["data"]["session_id"]))
                .or_default();
            keys.insert(text(&letter["id"]));
        }
    }
    endings
}

async fn a_session_that_ends(agent: &Agent) -> String {
    let id = session_id();
    agent.node.provision(&id, spec(seconds(600))).await.unwrap();
    agent.node.teardown(&id).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_down_gets_everything_signed_and_once_per_key() {
    let (lab, _origin) = lab();
    let (mut agent, address) = agent(&lab, "").await;
    // Nobody listens: an ending, and the agent killed before anybody took the letter.
    let first = a_session_that_ends(&agent).await;
    agent.sigkill();
    agent.launch();
    agent.wait_until(NodeState::Ready).await;
    let second = a_session_that_ends(&agent).await;

    // It comes up, and refuses for a while before it takes anything.
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let listener = TcpListener::bind(&address).await.unwrap();
    let receiver = Receiver::start(listener, move |_| {
        let status = if is_broken.load(Ordering::Relaxed) {
            503
        } else {
            204
        };
        (status, String::new(), Duration::ZERO)
    });
    eventually("it is asked", seconds(60), async || {
        (!receiver.got().is_empty()).then_some(())
    })
    .await;
    let refused = receiver.got().len();
    broken.store(false, Ordering::Relaxed);
    let got = eventually("everything comes", seconds(90), async || {
        let got = receiver.got();
        let told = endings(&got);
        (told.contains_key(&first) && told.contains_key(&second)).then_some(got)
    })
    .await;
    got.iter().for_each(is_signed);
    // What was refused came again as the same letter.
    assert_eq!(
        got[0].header("idempotency-key"),
        got[refused].header("idempotency-key")
    );
    for (session, keys) in endings(&got) {
        assert_eq!(keys.len(), 1, "{session}: every copy has one key");
    }
    let kinds: BTreeSet<_> = got
        .iter()
        .map(|got| got.header("chaser-event").to_owned())
        .collect();
    assert!(kinds.contains("node.ready"), "{kinds:?}");
    let mut letters = got.iter().map(Got::json);
    let ended = letters.rfind(|letter| letter["data"]["session_id"] == *second);
    let ended = ended.unwrap();
    assert_eq!(ended["data"]["reason"], "client_delete");
    assert_eq!(ended["node"], agent.node_id);
    eventually("the queue is empty", seconds(30), async || {
        let hooks = agent.node.status().await.operations.unwrap().hooks;
        (hooks[0].pending == 0).then_some(())
    })
    .await;
    let log = std::fs::read_to_string(agent.state_dir.with_file_name("up.log")).unwrap();
    assert!(!log.contains(KEY) && !log.contains(&second), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_and_a_program_that_hangs_block_no_session() {
    let (lab, _origin) = lab();
    std::fs::create_dir_all(lab.state_dir()).unwrap();
    let program = lab.state_dir().join("hook");
    std::fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let more = format!("exec = \"{}\"\ntimeout = \"3s\"", program.display());
    let address = format!("127.0.0.1:{}", lab.port(5));
    let listener = TcpListener::bind(&address).await.unwrap();
    let receiver = Receiver::start(listener, |_| (200, String::new(), seconds(1000)));
    let (agent, _) = agent(&lab, &more).await;
    eventually("both are being told", seconds(20), async || {
        let hooks = agent.node.status().await.operations.unwrap().hooks;
        let failed = hooks.iter().filter(|hook| hook.failed > 0).count();
        (failed == 2 && !receiver.got().is_empty()).then_some(())
    })
    .await;
    let begun = Instant::now();
    let ids = [
        a_session_that_ends(&agent).await,
        a_session_that_ends(&agent).await,
    ];
    // Two whole lives, while each target holds its letters for three seconds and more.
    assert!(begun.elapsed() < seconds(30), "{:?}", begun.elapsed());
    eventually("the letters wait", seconds(10), async || {
        let hooks = agent.node.status().await.operations.unwrap().hooks;
        let waits = |target: &str| hooks.iter().any(|h| h.target == target && h.pending >= 3);
        (waits("exec") && waits("webhook")).then_some(())
    })
    .await;
    assert!(ids.iter().all(|id| !id.is_empty()));
}

/// A program that writes down every letter, and where it does.
fn scribe(lab: &Lab) -> (PathBuf, PathBuf) {
    std::fs::create_dir_all(lab.state_dir()).unwrap();
    let (program, told) = (lab.state_dir().join("hook"), lab.state_dir().join("told"));
    let script = format!("#!/bin/sh\n{{ cat; echo; }} >>{}\n", told.display());
    std::fs::write(&program, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    (program, told)
}

/// What was written down; `None` while a line is only half there.
fn letters(told: &Path) -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(told).ok()?;
    text.lines()
        .map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_hears_of_a_pool_that_runs_dry() {
    let (lab, _origin) = lab();
    let (program, told) = scribe(&lab);
    // No room for another browser while two sessions live: the pool stays as empty as they leave it.
    let config = format!(
        "[node]\nmax_sessions = 2\n[pool]\nwarm = 2\n[hooks]\nexec = \"{}\"\nevents = [\"pool.low\"]\n",
        program.display()
    );
    let agent = Agent::start(&lab, &config).await;
    eventually("the pool is full", seconds(60), async || {
        let pool = agent.node.status().await.pool.remove(0);
        (pool.parked == 2).then_some(())
    })
    .await;
    let before = letters(&told).unwrap_or_default().len();
    for _ in 0..2 {
        let id = session_id();
        agent.node.provision(&id, spec(seconds(600))).await.unwrap();
    }
    let letters = eventually("it is told", seconds(20), async || {
        letters(&told).filter(|letters| letters.len() > before)
    })
    .await;
    let low = letters.last().unwrap();
    assert_eq!(low["event"], "pool.low", "{low}");
    assert_eq!(
        (&low["data"]["parked"], &low["data"]["target"]),
        (&json!(0), &json!(2)),
        "{low}"
    );
    let profile = agent.node.status().await.pool.remove(0).profile;
    assert_eq!(low["data"]["profile"], profile, "{low}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_hears_of_a_full_node_a_death_and_a_drain() {
    let (lab, _origin) = lab();
    let (program, told) = scribe(&lab);
    let config = format!(
        "[node]\nmax_sessions = 1\n[hooks]\nexec = \"{}\"\n",
        program.display()
    );
    let agent = Agent::start(&lab, &config).await;
    let id = session_id();
    agent.node.provision(&id, spec(seconds(600))).await.unwrap();
    let container = crate::harness::docker::containers_of(&agent.node_id)[0].clone();
    let pid = crate::harness::docker::pid(&container).unwrap();
    crate::harness::processes::kill(pid);
    let (code, said) = agent.says(&["drain", "--deadline", "5s"]).await;
    assert_eq!(code, 0, "{said}");
    let wanted = [
        "node.ready",
        "capacity.exhausted",
        "substrate_down",
        "session.ended",
        "node.draining",
    ];
    let letters = eventually("all of it is told", seconds(20), async || {
        let letters = letters(&told)?;
        let events: BTreeSet<_> = letters
            .iter()
            .map(|l| l["event"].as_str().unwrap())
            .collect();
        wanted
            .iter()
            .all(|event| events.contains(event))
            .then_some(letters.clone())
    })
    .await;
    let of = |event: &str| {
        letters
            .iter()
            .find(|letter| letter["event"] == event)
            .unwrap()
    };
    assert_eq!(of("capacity.exhausted")["data"]["slots"], 1);
    assert_eq!(of("substrate_down")["data"]["session_ids"][0], *id);
    assert_eq!(of("session.ended")["data"]["reason"], "substrate_down");
    assert_eq!(of("session.ended")["data"]["billable"], false);
}
