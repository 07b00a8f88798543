//! Notice that the host goes, as three clouds, a file and a program give it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chaser::wire::node::{DutyState, EndReason, Phase};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use crate::harness::{
    Agent, Got, Lab, Receiver, Reply, eventually, lab, seconds, session_id, spec,
};

const NOW: Duration = Duration::ZERO;

fn reply(status: u16, text: impl Into<String>) -> Reply {
    (status, text.into(), NOW)
}

/// A session on an agent that watches a metadata service; the service changes its mind; the drain must be
/// over `margin` before the end that it tells, and the session with it.
async fn drained_by(
    lab: &Lab,
    source: &str,
    answer: impl Fn(&Got, bool) -> Reply + Clone + Send + Sync + 'static,
) -> (Duration, Vec<Got>) {
    let goes = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&goes);
    let listener = lab.metadata(SocketAddr::from(([169, 254, 169, 254], 80)));
    let server = Receiver::start(listener, move |got| {
        answer(got, told.load(Ordering::Relaxed))
    });
    let config = format!("[notice]\nsource = \"{source}\"\ninterval = \"1s\"\nmargin = \"2s\"\n");
    let agent = Agent::start_inside(lab, &config).await;
    let id = session_id();
    agent.node.provision(&id, spec(seconds(600))).await.unwrap();
    let asked = server.got().len();
    eventually("it is asked and says nothing", seconds(10), async || {
        (server.got().len() > asked + 2).then_some(())
    })
    .await;
    let duty = agent.node.status().await.duty.unwrap();
    assert_eq!(duty.state(), DutyState::On, "{duty:?}");

    goes.store(true, Ordering::Relaxed);
    let noticed = OffsetDateTime::now_utc();
    let deadline = eventually("the node drains", seconds(10), async || {
        let duty = agent.node.status().await.duty.unwrap();
        (duty.state() == DutyState::Draining).then(|| duty.deadline.unwrap())
    })
    .await;
    let deadline = OffsetDateTime::from_unix_timestamp(deadline.seconds).unwrap();
    let (code, said) = agent.says(&["drain", "--wait", "--deadline", "0s"]).await;
    assert_eq!(code, 0, "{said}");
    let session = agent.node.session(&id).await.unwrap();
    assert_eq!(
        (session.phase(), session.end_reason()),
        (Phase::Ended, EndReason::SubstrateDown)
    );
    let left = Duration::try_from(deadline - noticed).unwrap_or_default();
    (left, server.got())
}

#[tokio::test(flavor = "multi_thread")]
async fn amazons_interruption_drains_in_time() {
    let (lab, _origin) = lab();
    let ends = OffsetDateTime::now_utc() + seconds(120);
    let action = format!(
        "{{\"action\": \"terminate\", \"time\": \"{}\"}}",
        ends.replace_nanosecond(0)
            .unwrap()
            .format(&Rfc3339)
            .unwrap()
    );
    let answer = move |got: &Got, goes: bool| {
        if got.path == "/latest/api/token" {
            let right = got.method == "PUT"
                && got
                    .headers
                    .contains_key("x-aws-ec2-metadata-token-ttl-seconds");
            return if right {
                reply(200, "TOKEN==")
            } else {
                reply(400, "")
            };
        }
        // IMDSv2: nothing without the token.
        match got
            .headers
            .get("x-aws-ec2-metadata-token")
            .map(|t| t.as_bytes())
        {
            Some(b"TOKEN==") => {}
            _ => return reply(401, ""),
        }
        match got.path.as_str() {
            "/latest/meta-data/spot/instance-action" if goes => reply(200, action.clone()),
            "/latest/meta-data/autoscaling/target-lifecycle-state" => reply(200, "InService"),
            _ => reply(404, ""),
        }
    };
    let started = OffsetDateTime::now_utc();
    let (left, got) = drained_by(&lab, "aws", answer).await;
    let until_end = Duration::try_from(ends - started).unwrap();
    assert!(
        left < until_end - seconds(1),
        "over before the end: {left:?}"
    );
    assert!(left > seconds(60), "and no sooner than it must: {left:?}");
    let tokens = got.iter().filter(|got| got.method == "PUT").count();
    assert_eq!(tokens, 1, "one token serves many questions");
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_preemption_leaves_half_a_minute() {
    let (lab, _origin) = lab();
    let answer = |got: &Got, goes: bool| {
        let right = got.path == "/computeMetadata/v1/instance/preempted"
            && got.headers.get("metadata-flavor").map(|v| v.as_bytes()) == Some(b"Google");
        match (right, goes) {
            (false, _) => reply(403, "Missing required header: Metadata-Flavor"),
            (true, goes) => reply(200, if goes { "TRUE" } else { "FALSE" }),
        }
    };
    let (left, _) = drained_by(&lab, "gcp", answer).await;
    assert!(left > seconds(20) && left <= seconds(32), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn azures_event_counts_when_it_names_this_machine() {
    let (lab, _origin) = lab();
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let ends = (OffsetDateTime::now_utc() + seconds(90))
        .format(format)
        .unwrap();
    let answer = move |got: &Got, goes: bool| {
        if got.headers.get("metadata").map(|v| v.as_bytes()) != Some(b"true") {
            return reply(400, "");
        }
        let machine = if goes { "vm-7" } else { "vm-8" };
        let event = serde_json::json!({ "DocumentIncarnation": 1, "Events": [{
            "EventId": "f020ba2e-3bc0-4c40-a10b-86575a9eabd5", "EventType": "Preempt",
            "ResourceType": "VirtualMachine", "Resources": [machine], "EventStatus": "Scheduled",
            "NotBefore": ends, "Description": "", "EventSource": "Platform", "DurationInSeconds": -1,
        }] });
        match got.path.as_str() {
            "/metadata/instance/compute/name?api-version=2021-02-01&format=text" => {
                reply(200, "vm-7")
            }
            "/metadata/scheduledevents?api-version=2020-07-01" => reply(200, event.to_string()),
            _ => reply(404, ""),
        }
    };
    let (left, _) = drained_by(&lab, "azure", answer).await;
    assert!(left > seconds(30) && left <= seconds(90), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_a_notice_once_and_an_uncordon_stands() {
    let (lab, _origin) = lab();
    let file = lab.state_dir().join("going");
    let config = format!(
        "[notice]\nsource = \"file\"\npath = \"{}\"\ninterval = \"1s\"\nmargin = \"0s\"\n",
        file.display()
    );
    let agent = Agent::start(&lab, &config).await;
    let duty = async || agent.node.status().await.duty.unwrap().state();
    std::fs::write(&file, "90s\n").unwrap();
    eventually("the file drains it", seconds(10), async || {
        (duty().await != DutyState::On).then_some(())
    })
    .await;
    assert_eq!(agent.says(&["uncordon"]).await.0, 0);
    let draining = async |what: &str| {
        let log = std::fs::read_to_string(agent.state_dir.with_file_name("up.log")).unwrap();
        log.matches(what).count()
    };
    // Another moment is another notice.
    std::fs::write(&file, "80s\n").unwrap();
    eventually("the next one drains it again", seconds(10), async || {
        (duty().await != DutyState::On).then_some(())
    })
    .await;
    assert_eq!(draining("says that the host goes").await, 2);
}
