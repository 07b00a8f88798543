//! Campaigns and soaks: everything that must hold does, and nothing is left of a bench that was killed.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

use super::{Bench, nothing_is_left_of, report};
use crate::harness::{OwnDocker, docker, eventually, processes, seconds};

/// Orders that came to sessions, were refused or died with the agent: all of them, and each once.
fn adds_up(told: &Value) {
    let note = told["notes"][1].as_str().unwrap();
    let numbers: Vec<u64> = (note.split(|c: char| !c.is_ascii_digit()))
        .filter_map(|word| word.parse().ok())
        .collect();
    let [orders, sessions, .., refused, untaken, _unheard] = numbers[..] else {
        panic!("{note}");
    };
    let by_reason: u64 = numbers[2..numbers.len() - 3].iter().sum();
    assert_eq!(by_reason, sessions, "{note}");
    assert_eq!(sessions + refused + untaken, orders, "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_campaign_breaks_nothing_that_must_hold() {
    let words = [
        "chaos",
        "--minutes",
        "2",
        "--steps",
        "14",
        "--seed",
        "3",
        "--json",
    ];
    let told = report(&words).await;
    assert_eq!(told["bench"], "chaos");
    adds_up(&told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_stops_and_kills_a_docker_of_its_own() {
    let mut own = OwnDocker::start(true);
    own.stop();
    let data = own.data().to_str().unwrap().to_owned();
    let words = [
        "chaos",
        "--minutes",
        "2",
        "--seed",
        "23",
        "--dockerd",
        &data,
        "--json",
    ];
    let told = report(&words).await;
    adds_up(&told);
    let done = told["notes"][0].as_str().unwrap();
    assert!(done.contains("Docker "), "{done}");
}

/// A soak that is under way: its directories, and its node.
async fn under_way() -> (Bench, PathBuf, String) {
    let mut bench = Bench::start(&["soak", "--count", "1000", "--at-once", "2"]);
    let mut lines = BufReader::new(bench.child.stderr.take().unwrap()).lines();
    let begun = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("one at a time") || line.contains("1 at a time") {
                return;
            }
        }
        panic!("it ended by itself");
    };
    timeout(seconds(60), begun).await.unwrap();
    let mark = bench.mark();
    let places = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let place = places
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains(&mark))
        .expect("it has directories");
    let node = std::fs::read_to_string(place.join("state/node.id")).unwrap();
    (bench, place, node.trim().to_owned())
}

async fn the_next_one_sweeps(bench: &Bench, place: &Path) {
    assert!(place.exists(), "that is the next one's to do");
    let told = report(&["soak", "--count", "2", "--at-once", "1", "--json"]).await;
    assert_eq!(told["bench"], "soak");
    nothing_is_left_of(bench.pid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bench_that_is_killed_takes_its_daemon_along_and_the_next_one_sweeps_the_rest() {
    let (mut bench, place, node) = under_way().await;
    bench.child.kill().await.unwrap();
    let mark = bench.mark();
    eventually("no process of it is left", seconds(60), async || {
        (!of_bench(&mark).any(processes::lives)).then_some(())
    })
    .await;
    assert_eq!(docker::containers_of(&node), Vec::<String>::new());
    the_next_one_sweeps(&bench, &place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_bench_that_is_killed_with_its_daemon_the_next_one_sweeps_relay_and_containers_too() {
    let (mut bench, place, node) = under_way().await;
    let mark = bench.mark();
    let agent = of_bench(&mark)
        .find(|pid| processes::command_line(*pid).contains(" up "))
        .unwrap();
    eventually("a session is there", seconds(30), async || {
        // Stopped, it cannot end one before it is killed.
        processes::signal(agent, Signal::SIGSTOP);
        let there = !docker::containers_of(&node).is_empty();
        if !there {
            processes::signal(agent, Signal::SIGCONT);
        }
        there.then_some(())
    })
    .await;
    bench.child.kill().await.unwrap();
    processes::kill(agent);
    the_next_one_sweeps(&bench, &place).await;
    assert_eq!(docker::containers_of(&node), Vec::<String>::new());
}

/// Processes whose command lines carry `mark`.
fn of_bench(mark: &str) -> impl Iterator<Item = u32> {
    processes::all().filter(move |pid| processes::command_line(*pid).contains(mark))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_soak_leaves_the_daemons_as_they_were() {
    let words = ["soak", "--count", "8", "--at-once", "4", "--json"];
    let told = report(&words).await;
    assert_eq!(told["bench"], "soak");
}
