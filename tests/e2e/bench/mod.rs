//! The benches, with counts too small to say anything about speed: do they measure what they say,
//! does everything succeed, and is nothing left of them? No figure decides a test.

mod chaos;

use std::{path::PathBuf, process::Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::harness::{docker, eventually, processes, seconds};

/// A bench that runs.
struct Bench {
    child: Child,
    pid: u32,
}

impl Bench {
    fn start(words: &[&str]) -> Self {
        docker::require_image();
        let child = Command::new(env!("CARGO_BIN_EXE_chaser"))
            .arg("bench")
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id().unwrap();
        Self { child, pid }
    }

    /// What the names of its directories, and so its processes' command lines, carry.
    fn mark(&self) -> String {
        format!("chaser-bench-{}-", self.pid)
    }

    /// Runs to its end: exit code, stdout, stderr.
    async fn finish(self) -> (Option<i32>, String, String) {
        let pid = self.pid;
        let output = timeout(seconds(200), self.child.wait_with_output()).await;
        let output = output.expect("a bench with small counts ends in time");
        let output = output.unwrap();
        nothing_is_left_of(pid).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }
}

/// A bench that succeeds, and what it reports.
async fn report(words: &[&str]) -> Value {
    let (code, stdout, stderr) = Bench::start(words).finish().await;
    assert_eq!(code, Some(0), "{words:?}: {stdout}{stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

/// Processes, containers and directories of a bench carry its pid.
async fn nothing_is_left_of(pid: u32) {
    let mark = format!("chaser-bench-{pid}-");
    let mut left = Vec::new();
    eventually(
        &format!("nothing is left of {mark}"),
        seconds(10),
        async || {
            left = docker::containers_with(&format!("chaser.bench={pid}"));
            left.extend(processes::all().filter_map(|pid| {
                let line = processes::command_line(pid);
                (line.contains(&mark) && processes::lives(pid)).then_some(line)
            }));
            for place in [PathBuf::from("/run"), std::env::temp_dir()] {
                let entries = std::fs::read_dir(place).unwrap().filter_map(Result::ok);
                let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
                left.extend(names.filter(|name| name.starts_with(&mark)));
            }
            if !left.is_empty() {
                eprintln!("still there: {left:?}");
            }
            left.is_empty().then_some(())
        },
    )
    .await;
}

/// One row of a report.
fn row<'a>(report: &'a Value, subject: &str, stage: &str) -> &'a Value {
    let rows = report["rows"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["subject"] == subject && row["stage"] == stage);
    row.unwrap_or_else(|| panic!("no {subject}: {stage} in {report:#}"))
}

/// Measured so many times, each with success, and above nought.
fn measured(report: &Value, subject: &str, stage: &str, count: u64) {
    let row = row(report, subject, stage);
    assert_eq!(row["count"], count, "{row}");
    assert_eq!(row["success_percent"], 100.0, "{row}");
    let [p50, p95, p99] = ["p50", "p95", "p99"].map(|key| row[key].as_f64().unwrap());
    assert!(p50 > 0.0 && p50 <= p95 && p95 <= p99, "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lifecycles_are_measured_next_to_browsers_without_us() {
    let plot = std::env::temp_dir().join(format!("bench-{}.svg", std::process::id()));
    let words = ["lifecycle", "--concurrency", "1,2", "--count", "2"];
    let more = ["--warm", "2", "--json", "--plot", plot.to_str().unwrap()];
    let report = report(&[&words[..], &more].concat()).await;
    for at_a_time in [1, 2] {
        for kind in ["cold", "warm", "bare docker run"] {
            let subject = format!("{kind}, {at_a_time} at a time");
            for stage in [
                "create",
                "connect",
                "goto",
                "connect + goto",
                "release",
                "total",
            ] {
                measured(&report, &subject, stage, 2);
            }
        }
        measured(
            &report,
            &format!("raw, {at_a_time} at a time"),
            "connect + goto",
            2,
        );
        let create = row(&report, &format!("cold, {at_a_time} at a time"), "create");
        assert!(
            create["ratio_to_baseline"].as_f64().unwrap() > 0.0,
            "{create}"
        );
    }
    let create = row(&report, "cold, 1 at a time", "create");
    let goto = row(&report, "cold, 1 at a time", "goto");
    let total = row(&report, "cold, 1 at a time", "total");
    let p99 = |row: &Value| row["p99"].as_f64().unwrap();
    assert!(p99(total) >= p99(create).max(p99(goto)), "{report:#}");
    let goals = report["goals"].as_array().unwrap();
    assert!(
        goals
            .iter()
            .any(|goal| goal["name"] == "cold, 1 at a time: create")
    );
    let warm = row(&report, "warm, 2 at a time", "total");
    assert!(warm["ratio_to_baseline"].as_f64().unwrap() > 0.0, "{warm}");
    assert_eq!(report["notes"], serde_json::json!([]));
    assert_eq!(report["machine"]["version"], env!("CARGO_PKG_VERSION"));
    let picture = std::fs::read_to_string(&plot).unwrap();
    std::fs::remove_file(&plot).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("cold, 2 at a time: goto"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bench_that_is_called_off_leaves_nothing() {
    let mut bench = Bench::start(&["lifecycle", "--count", "1000", "--warm", "0"]);
    let mut lines = BufReader::new(bench.child.stderr.take().unwrap()).lines();
    let under_way = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("round 2 of") {
                return;
            }
        }
        panic!("it ended by itself");
    };
    timeout(seconds(60), under_way).await.unwrap();
    processes::signal(bench.pid, Signal::SIGTERM);
    let mut rest = lines.into_inner();
    let mut said = String::new();
    let (read, (code, stdout, _)) = tokio::join!(rest.read_to_string(&mut said), bench.finish());
    read.unwrap();
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{said}");
    assert!(said.contains("chaser: called off"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_cannot_start_is_told_in_its_own_words() {
    let config = std::env::temp_dir().join(format!("bench-{}.toml", std::process::id()));
    std::fs::write(&config, "[cdp]\nuser = \"no-such-user\"\n").unwrap();
    let words = ["lifecycle", "--config", config.to_str().unwrap()];
    let (code, stdout, stderr) = Bench::start(&words).finish().await;
    std::fs::remove_file(&config).unwrap();
    assert_ne!(code, Some(0), "{stdout}");
    assert!(stderr.contains("no-such-user"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_is_measured_next_to_a_direct_connection() {
    let words = ["cdp", "--rounds", "2", "--round-trips", "10", "--json"];
    let report = report(&words).await;
    for subject in ["direct", "bare copy", "gateway"] {
        measured(&report, subject, "round trip", 20);
        for stage in ["pipelined", "large answers", "large commands"] {
            measured(&report, subject, stage, 2);
        }
    }
    let goals = report["goals"].as_array().unwrap();
    assert_eq!(goals.len(), 4, "{report:#}");
    assert!(
        goals.iter().all(|goal| goal["met"].is_boolean()),
        "{report:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn supervision_is_measured_next_to_a_browser_without_it() {
    let report = report(&["profile", "--pages", "3", "--json"]).await;
    for subject in ["alone", "supervised"] {
        for stage in ["new page", "goto", "new page + goto"] {
            measured(&report, subject, stage, 3);
        }
    }
    assert!(report["goals"][0]["value"].as_f64().unwrap() > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_egress_proxy_is_measured_next_to_none() {
    let report = report(&["egress", "--rounds", "3", "--mib", "8", "--json"]).await;
    for subject in ["direct", "CONNECT", "plain HTTP"] {
        measured(&report, subject, "bulk, 1 connection", 3);
        measured(&report, subject, "bulk, 64 connections", 3);
        measured(&report, subject, "new connection", 150);
        measured(&report, subject, "new connections, 64 at once", 3);
    }
    for subject in ["CONNECT", "plain HTTP"] {
        measured(&report, subject, "CPU per GiB, 1 connection", 3);
        measured(&report, subject, "CPU per new connection", 3);
        measured(&report, subject, "CPU per new connection, 64 at once", 3);
    }
    measured(&report, "CONNECT", "idle tunnel", 1);
    let tunnel = row(&report, "CONNECT", "bulk, 1 connection");
    assert!(tunnel["ratio_to_baseline"].as_f64().unwrap() > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sessions_take_is_measured_until_something_says_no() {
    let words = [
        "density",
        "--max",
        "2",
        "--idle",
        "1",
        "--baseline",
        "1",
        "--json",
    ];
    let report = report(&words).await;
    for stage in ["memory, charged", "memory, own", "CPU, idle"] {
        measured(&report, "browser alone", stage, 1);
        measured(&report, "session", stage, 2);
    }
    assert_eq!(row(&report, "sessions", "at once")["p50"], 2.0);
    for daemon in ["agent", "relay"] {
        measured(&report, daemon, "memory, own", 1);
        assert_eq!(row(&report, daemon, "per session")["count"], 1);
    }
    measured(&report, "agent + relay", "program", 1);
    assert_eq!(report["notes"], serde_json::json!(["stopped by: --max"]));
}
