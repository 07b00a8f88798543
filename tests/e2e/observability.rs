//! The metrics of a node that works, and the dashboard and alert rules that are made from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::harness::{Agent, Cdp, Setup, eventually, lab, seconds, session_id, spec};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/observability")
}

/// What Prometheus itself says of a file; a machine without `promtool` fails the test.
fn promtool(words: &[&str], file: &Path) -> String {
    let run = Command::new("promtool").args(words).arg(file).output();
    let output = run.expect("promtool is there: `make setup` installs it");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "promtool {words:?}: {said}");
    said
}

/// The names that a scrape has samples of.
fn names(scrape: &str) -> BTreeSet<&str> {
    let samples = scrape.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .collect()
}

/// Every metric that an expression names.
fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let words = text.split(word).filter(|word| word.starts_with("chaser_"));
    words.map(str::to_owned).collect()
}

/// The value of one series.
fn value(scrape: &str, series: &str) -> f64 {
    let line = scrape.lines().find(|line| {
        line.strip_prefix(series)
            .is_some_and(|l| l.starts_with(' '))
    });
    let line = line.unwrap_or_else(|| panic!("no {series} in:\n{scrape}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn expressions() -> Vec<String> {
    let text = std::fs::read_to_string(folder().join("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        targets
            .iter()
            .map(|target| target["expr"].as_str().unwrap())
    });
    targets.map(str::to_owned).collect()
}

#[test]
fn every_alert_fires_where_it_should_and_none_on_a_node_that_is_well() {
    promtool(&["check", "rules"], &folder().join("alerts.yml"));
    promtool(&["test", "rules"], &folder().join("alerts_test.yml"));
    let rules = std::fs::read_to_string(folder().join("alerts.yml")).unwrap();
    let tests = std::fs::read_to_string(folder().join("alerts_test.yml")).unwrap();
    let alerts = rules
        .lines()
        .filter_map(|line| line.split_once("- alert: "));
    for (_, alert) in alerts {
        assert!(tests.contains(&format!("name: {alert} fires")), "{alert}");
    }
}

#[test]
fn every_panel_of_the_dashboard_is_something_that_prometheus_can_evaluate() {
    let rules: Vec<_> = expressions()
        .iter()
        .enumerate()
        .map(|(at, expr)| {
            let expr = expr.replace("$__rate_interval", "5m");
            json!({ "record": format!("panel:{at}"), "expr": expr })
        })
        .collect();
    let count = rules.len();
    let file = tempfile::NamedTempFile::new().unwrap();
    let groups = json!({ "groups": [{ "name": "panels", "rules": rules }] });
    std::fs::write(file.path(), groups.to_string()).unwrap();
    let said = promtool(&["check", "rules"], file.path());
    assert!(said.contains(&format!("{count} rules found")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dashboard_and_alerts_name_is_in_a_scrape_and_is_true() {
    let (lab, _origin) = lab();
    let chaser = Setup::on(&lab).set("pool", "warm = 1").start().await;
    eventually("a browser is parked", seconds(60), async || {
        let scrape = chaser.metrics().await;
        (value(&scrape, "chaser_node_sessions_warm") >= 1.0).then_some(())
    })
    .await;
    let warm = chaser.api.create().await;
    // Of a profile that nobody keeps: this one is made.
    let order = json!({ "ttl_seconds": 600, "profile": "pixel-10" });
    let ordered = chaser.api.post("/v1/sessions?wait=ready", &order).await;
    let cold = chaser.api.adopt(&ordered.body);
    let _cdp = Cdp::open(&cold.cdp_url).await;
    assert_eq!(warm.delete().await.status, 204);

    let prefix = cold.id[..23].to_owned();
    let series =
        |name: &str| format!("chaser_node_{name}{{session=\"{prefix}\",profile=\"pixel-10\"}}");
    let scrape = eventually("the client is counted", seconds(10), async || {
        let scrape = chaser.metrics().await;
        (value(&scrape, "chaser_node_cdp_clients") >= 1.0).then_some(scrape)
    })
    .await;
    let memory = value(&scrape, &series("session_memory_bytes"));
    assert!(memory > 3e7 && memory < 3e9, "a browser's memory: {memory}");
    let cpu = value(&scrape, &series("session_cpu_seconds_total"));
    assert!(cpu > 0.05 && cpu < 600.0, "a browser's CPU: {cpu}");
    assert!(!scrape.contains(&cold.id), "an id is a capability");
    let ended = "{reason=\"client_delete\",blame=\"none\",substrate=\"chromium\"}";
    let ended = value(&scrape, &format!("chaser_node_sessions_ended_total{ended}"));
    assert!((ended - 1.0).abs() < 0.1, "{ended}");
    for (way, steps) in BTreeMap::from([
        ("claim", vec!["journal", "bind", "whole"]),
        ("provision", vec!["journal", "expect", "bind", "whole"]),
        (
            "instance",
            vec!["create", "start", "furnish", "attach", "whole"],
        ),
        ("release", vec!["cut"]),
    ]) {
        for step in steps {
            let of = format!("{{way=\"{way}\",step=\"{step}\"}}");
            let count = value(&scrape, &format!("chaser_node_step_seconds_count{of}"));
            let sum = value(&scrape, &format!("chaser_node_step_seconds_sum{of}"));
            assert!(count >= 1.0 && sum > 0.0, "{way} {step}: {count}, {sum}");
        }
    }

    let rules = std::fs::read_to_string(folder().join("alerts.yml")).unwrap();
    let example = folder().join("../examples/nomad-autoscaler.hcl");
    let rules = rules + &std::fs::read_to_string(example).unwrap();
    let there = names(&scrape);
    for name in expressions()
        .iter()
        .flat_map(|text| named(text))
        .chain(named(&rules))
    {
        assert!(there.contains(name.as_str()), "no {name} in:\n{scrape}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_alone_has_metrics_and_tells_autoscalers_whether_the_host_may_go() {
    let (lab, _origin) = lab();
    let agent = Agent::start(&lab, "[node]\nmax_sessions = 3\n").await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = async |path: &str| {
        let answer = http.get(format!("{}{path}", agent.admin)).send().await;
        answer.unwrap().text().await.unwrap()
    };
    let node = async || serde_json::from_str::<Value>(&get("/v1/node").await).unwrap();
    let idle = node().await;
    assert_eq!(
        idle,
        json!({
            "object": "node", "id": agent.node_id, "ready": true, "draining": false,
            "safe_to_terminate": true, "sessions": 0, "slots": 3, "free": 3, "free_warm": 0,
            "pending_claims": 0,
        })
    );
    let id = session_id();
    agent.node.provision(&id, spec(seconds(600))).await.unwrap();
    let busy = node().await;
    assert_eq!(busy["safe_to_terminate"], false, "{busy}");
    assert_eq!((&busy["sessions"], &busy["free"]), (&json!(1), &json!(2)));
    let scrape = get("/metrics").await;
    assert!((value(&scrape, "chaser_node_up") - 1.0).abs() < 0.1);
    assert!((value(&scrape, "chaser_node_safe_to_terminate")).abs() < 0.1);

    // As an `ExecStop` or a lifecycle hook calls it.
    let (code, said) = agent.says(&["drain", "--wait", "--deadline", "1s"]).await;
    assert_eq!(code, 0, "{said}");
    let drained = node().await;
    assert_eq!(drained["safe_to_terminate"], true, "{drained}");
    assert_eq!(
        (&drained["draining"], &drained["free"]),
        (&json!(true), &json!(0))
    );
}
