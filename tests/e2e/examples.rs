//! What `systemd/examples/` shows, tried on a node: an example that does not work is worse than none.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chaser::wire::{
    node::{DutyState, Phase},
    scaler::{ScaledObjectRef, external_scaler_client::ExternalScalerClient},
};

use crate::harness::{Agent, Got, Receiver, eventually, lab, seconds, session_id, spec};

fn example(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/examples");
    fs::read_to_string(file.join(name)).unwrap()
}

/// `key: value` lines below `metadata:` of the trigger.
fn trigger_metadata(yaml: &str) -> Vec<(String, String)> {
    let (_, triggers) = yaml.split_once("triggers:").unwrap();
    let (_, metadata) = triggers.split_once("metadata:").unwrap();
    let lines = metadata.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (key, value) = line.split_once(": ").unwrap();
            (key.to_owned(), value.trim_matches('"').to_owned())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kedas_example_asks_for_is_answered() {
    let (lab, _origin) = lab();
    let address = format!("127.0.0.1:{}", lab.port(4));
    let config = format!("[node]\nlisten = \"{address}\"\n");
    let _agent = Agent::start(&lab, &config).await;
    let metadata = trigger_metadata(&example("keda-scaledobject.yaml"));
    let of = ScaledObjectRef {
        name: "chaser-node".to_owned(),
        namespace: "browsers".to_owned(),
        scaler_metadata: metadata.into_iter().collect(),
    };
    assert_eq!(of.scaler_metadata["metric"], "utilization");
    let keda = ExternalScalerClient::connect(format!("http://{address}"));
    let specs = keda.await.unwrap().get_metric_spec(of).await.unwrap();
    let [spec] = &specs.get_ref().metric_specs[..] else {
        panic!("one metric: {specs:?}")
    };
    assert_eq!(spec.target_size, 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nomads_example_asks_prometheus_for_is_measured() {
    let (lab, _origin) = lab();
    let agent = Agent::start(&lab, "").await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let scrape = http.get(format!("{}/metrics", agent.admin)).send().await;
    let scrape = scrape.unwrap().text().await.unwrap();
    let example = example("nomad-autoscaler.hcl");
    let queries = example.lines().filter(|line| line.contains("query "));
    let asked: BTreeSet<_> = queries
        .flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')))
        .filter(|word| word.starts_with("chaser_"))
        .collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    for name in asked {
        let told = |line: &str| {
            line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{"))
        };
        assert!(scrape.lines().any(told), "`{name}` is not in\n{scrape}");
    }
    for phase in ["creating", "ready"] {
        let line = format!("chaser_node_sessions{{phase=\"{phase}\"}}");
        assert!(scrape.contains(&line), "`{line}` is not in\n{scrape}");
    }
}

/// IMDSv2 as Amazon documents it, of an instance that its group wants to end when `goes`.
fn imds(got: &Got, goes: bool) -> (u16, String, Duration) {
    let token = got.headers.get("x-aws-ec2-metadata-token");
    let (status, text) = match (got.path.as_str(), token.map(|token| token.as_bytes())) {
        ("/latest/api/token", _) if got.method == "PUT" => (200, "TOKEN=="),
        (_, Some(b"TOKEN==")) => match got.path.as_str() {
            "/latest/meta-data/instance-id" => (200, "i-0123456789abcdef0"),
            "/latest/meta-data/placement/region" => (200, "eu-central-1"),
            "/latest/meta-data/autoscaling/target-lifecycle-state" if goes => (200, "Terminated"),
            "/latest/meta-data/autoscaling/target-lifecycle-state" => (200, "InService"),
            _ => (404, ""),
        },
        _ => (401, ""),
    };
    (status, text.to_owned(), Duration::ZERO)
}

/// Only Amazon's own command is not the real one: what it is told is what counts.
#[tokio::test(flavor = "multi_thread")]
async fn amazons_lifecycle_hook_is_completed_once_nothing_lives() {
    let (lab, _origin) = lab();
    let goes = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&goes);
    let listener = lab.metadata(SocketAddr::from(([169, 254, 169, 254], 80)));
    let _server = Receiver::start(listener, move |got| imds(got, told.load(Ordering::Relaxed)));
    let agent = Agent::start_inside(&lab, "").await;
    let id = session_id();
    agent.node.provision(&id, spec(seconds(600))).await.unwrap();

    let bin = lab.state_dir().join("bin");
    fs::create_dir_all(&bin).unwrap();
    symlink(env!("CARGO_BIN_EXE_chaser"), bin.join("chaser")).unwrap();
    let (aws, said) = (bin.join("aws"), bin.join("said"));
    fs::write(
        &aws,
        format!("#!/bin/sh\necho \"$@\" > {}\n", said.display()),
    )
    .unwrap();
    fs::set_permissions(&aws, fs::Permissions::from_mode(0o755)).unwrap();
    let [enter, namespace] = lab.words_of_inside();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/examples/aws-lifecycle-hook");
    let mut hook = tokio::process::Command::new(enter)
        .arg(namespace)
        .args([
            "sh",
            "-c",
            "PATH=\"$0:$PATH\" exec sh \"$@\"",
            bin.to_str().unwrap(),
        ])
        .args([script.to_str().unwrap(), "browsers", "drain"])
        .env("CHASER_ADMIN", &agent.admin)
        .env("CHASER_RUNTIME_DIR", &agent.runtime_dir)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    tokio::time::sleep(seconds(2)).await;
    assert!(!said.exists() && hook.try_wait().unwrap().is_none());

    goes.store(true, Ordering::Relaxed);
    eventually("the drain has begun", seconds(20), async || {
        let duty = agent.node.status().await.duty.unwrap();
        (duty.state() == DutyState::Draining).then_some(())
    })
    .await;
    assert!(!said.exists(), "a session still lives");
    agent.node.teardown(&id).await.unwrap();
    let ended = tokio::time::timeout(seconds(60), hook.wait()).await;
    assert!(ended.unwrap().unwrap().success());
    assert_eq!(agent.node.session(&id).await.unwrap().phase(), Phase::Ended);
    assert_eq!(
        fs::read_to_string(&said).unwrap().trim(),
        "autoscaling complete-lifecycle-action --region eu-central-1 --auto-scaling-group-name browsers \
         --lifecycle-hook-name drain --instance-id i-0123456789abcdef0 --lifecycle-action-result CONTINUE"
    );
}
