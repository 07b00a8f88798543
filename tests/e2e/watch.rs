//! What a watcher of a node is told of meters, while they move.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use chaser::wire::node::{
    Phase, Traffic, WatchRequest, WatchResponse, event::What, watch_response::Item,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
    time::timeout,
};
use tonic::Streaming;

use crate::harness::{Bytes, Chaser, Library, lab, seconds};

async fn watch(chaser: &Chaser, without_meters: bool) -> Streaming<WatchResponse> {
    let request = WatchRequest {
        after_seq: 0,
        without_meters,
    };
    let stream = chaser.node.dial().await.watch(request).await;
    stream.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<WatchResponse>) -> Item {
    let message = timeout(seconds(20), stream.message()).await;
    let message = message.expect("it is told").unwrap();
    message.expect("the watch goes on").item.unwrap()
}

fn bytes(traffic: &Traffic) -> Bytes {
    Bytes {
        up: traffic.up,
        down: traffic.down,
    }
}

/// All meters that are told until `id` has moved what is `enough`, by session, each with its moment.
async fn told_until(
    stream: &mut Streaming<WatchResponse>,
    id: &str,
    enough: impl Fn(Bytes) -> bool,
) -> BTreeMap<String, Vec<(Duration, Traffic)>> {
    let mut told = BTreeMap::<String, Vec<_>>::new();
    loop {
        let Item::Meters(meters) = next(stream).await else {
            continue;
        };
        let at = meters.at.unwrap();
        let nanos = at.nanos.try_into().unwrap();
        let at = Duration::new(at.seconds.try_into().unwrap(), nanos);
        for meter in meters.sessions {
            let of_session = told.entry(meter.session_id).or_default();
            of_session.push((at, meter.traffic.unwrap()));
        }
        let newest = told.get(id).and_then(|all| all.last());
        if newest.is_some_and(|(_, traffic)| enough(bytes(traffic))) {
            return told;
        }
    }
}

/// The traffic that the event of its end has, and how many meters came before it.
async fn ended(stream: &mut Streaming<WatchResponse>, id: &str) -> (Traffic, u64) {
    let mut meters = 0;
    loop {
        match next(stream).await {
            Item::Meters(_) => meters += 1,
            Item::Gap(gap) => panic!("a gap before {}", gap.oldest_seq),
            Item::Event(event) => match event.what {
                Some(What::Session(of)) if of.id == id && of.phase() == Phase::Ended => {
                    return (of.traffic.unwrap(), meters);
                }
                _ => {}
            },
        }
    }
}

async fn no_meter_follows(stream: &mut Streaming<WatchResponse>) {
    let meter = async {
        loop {
            if let Item::Meters(meters) = next(stream).await {
                return meters;
            }
        }
    };
    let told = timeout(Duration::from_millis(1500), meter).await;
    assert!(told.is_err(), "nothing moves any more: {told:?}");
}

fn grows(pair: &[(Duration, Traffic)]) -> bool {
    let (then, now) = (pair[0].1, pair[1].1);
    then.up <= now.up
        && then.down <= now.down
        && then.cdp_up <= now.cdp_up
        && then.cdp_down <= now.cdp_down
        && then.connections <= now.connections
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_that_moves_is_told_each_second_and_a_silent_one_never() {
    const SIZE: u64 = 2_000_000;
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let moving = chaser.api.ready_session().await;
    let _silent = chaser.api.ready_session().await;
    let ip = moving.egress_ip().await;
    let mut client = Library::Patchright.connect(&moving.cdp_url).await;
    client.goto(&origin.http("/")).await;
    let (mut one, mut late) = (watch(&chaser, false).await, watch(&chaser, false).await);
    let mut plain = watch(&chaser, true).await;
    let start = format!("window.transfer = fetch('/drip/{SIZE}/5000').then((r) => r.text()), 0");
    client.evaluate(&start).await;
    let over = |seen: Bytes| seen.down > SIZE && seen == origin.bytes_of(ip);
    let told = told_until(&mut one, &moving.id, over).await;
    assert_eq!(told.keys().collect::<Vec<_>>(), [&moving.id]);
    let told = &told[&moving.id];
    let moments: Vec<_> = told.iter().map(|(at, _)| *at).collect();
    let pauses = moments.windows(2).map(|pair| pair[1] - pair[0]);
    let all_the_while = pauses.clone().sum::<Duration>();
    assert!(all_the_while > seconds(4), "{told:?}");
    assert!(pauses.max() <= Some(seconds(1)), "a longer one: {told:?}");
    assert!(told.windows(2).all(grows), "it went back: {told:?}");
    // Who comes to read only now hears of the same session, and the newest.
    let told = told_until(&mut late, &moving.id, over).await;
    assert_eq!(told.keys().collect::<Vec<_>>(), [&moving.id]);

    assert_eq!(moving.delete().await.status, 204);
    for stream in [&mut one, &mut late] {
        let (last, _) = ended(stream, &moving.id).await;
        assert_eq!(bytes(&last), origin.bytes_of(ip), "final");
        no_meter_follows(stream).await;
    }
    let (_, meters) = ended(&mut plain, &moving.id).await;
    assert_eq!(meters, 0, "it did not ask for any");
}

/// `chaser events --follow` with more words, and what it prints.
fn follow(chaser: &Chaser, words: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = chaser
        .command(&[&["events", "--follow", "--json"], words].concat())
        .env("CHASER_RUNTIME_DIR", &chaser.runtime_dir)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn chaser_events_prints_meters_only_where_they_are_asked_for() {
    let (lab, origin) = lab();
    let chaser = Chaser::start(&lab).await;
    let session = chaser.api.ready_session().await;
    let ip = session.egress_ip().await;
    let (_with, mut with) = follow(&chaser, &["--meters"]);
    let (_without, mut without) = follow(&chaser, &[]);
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/")).await;
    let line = async |lines: &mut Lines<BufReader<ChildStdout>>| -> Value {
        let line = timeout(seconds(20), lines.next_line()).await;
        let line = line.expect("it is told").unwrap().expect("it goes on");
        assert!(!line.contains(&session.id), "an id is a capability: {line}");
        serde_json::from_str(&line).unwrap()
    };
    loop {
        let told = line(&mut with).await;
        if told["event"] == "meter" && told["data"]["bytes_down"] == origin.bytes_of(ip).down {
            assert!(told["data"]["connections"].as_u64() >= Some(1), "{told}");
            break;
        }
    }
    assert_eq!(session.delete().await.status, 204);
    loop {
        let told = line(&mut without).await;
        assert_ne!(told["event"], "meter");
        if told["data"]["reason"] == "client_delete" && told["data"]["phase"] == "ended" {
            break;
        }
    }
}
