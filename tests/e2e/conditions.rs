//! Conditions of the host that can be brought about for one program alone: its wall clock, its file
//! descriptors, the inodes of its disk.

use chaser::wire::node::{Condition, ConditionLevel, EndReason, Phase};
use procfs::process::LimitValue;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use tonic::Code;

use crate::harness::{
    Agent, Cdp, Setup, SmallDisk, WallClock, eventually, lab, processes, seconds, session_id, spec,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_wall_clock_is_shown_and_moves_no_deadline() {
    const HOUR: i64 = 3_600;
    let (lab, _origin) = lab();
    let clock = WallClock::new("step");
    let agent = Agent::start_in(&lab, "", clock.environment()).await;
    let (long, short) = (session_id(), session_id());
    let made = agent
        .node
        .provision(&long, spec(seconds(900)))
        .await
        .unwrap();
    assert_eq!(made.phase(), Phase::Ready);
    let mut cdp = Cdp::open(&format!("ws://{}/sessions/{long}", agent.cdp)).await;
    agent.node.stands("clock", ConditionLevel::Ok).await;

    // Beyond the end of every session, by the wall.
    clock.step(HOUR);
    let stood = agent.node.stands("clock", ConditionLevel::Degraded).await;
    assert_eq!(jumped(&stood), HOUR, "{}", stood.why);
    assert!(agent.node.status().await.admission_stopped.is_empty());
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
    let lives = agent.node.session(&long).await.unwrap();
    assert_eq!(lives.phase(), Phase::Ready, "{lives:?}");

    // And far back: one that is due by the boot clock ends all the same.
    agent
        .node
        .provision(&short, spec(seconds(5)))
        .await
        .unwrap();
    clock.step(-HOUR);
    let ended = eventually("the short one ends in time", seconds(15), async || {
        let session = agent.node.session(&short).await.unwrap();
        (session.phase() == Phase::Ended).then_some(session)
    })
    .await;
    assert_eq!(ended.end_reason(), EndReason::TtlExpired);
    eventually("the second step is shown", seconds(30), async || {
        let stood = agent.node.stands("clock", ConditionLevel::Degraded).await;
        (jumped(&stood) == -2 * HOUR).then_some(())
    })
    .await;
    let lives = agent.node.session(&long).await.unwrap();
    assert_eq!(lives.phase(), Phase::Ready, "{lives:?}");
    cdp.call("Browser.getVersion", json!({})).await.unwrap();
}

/// How far the clock is said to have jumped, in whole seconds.
fn jumped(stood: &Condition) -> i64 {
    let mut words = stood.why.split(' ');
    let millis = words.find_map(|word| word.parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, reason = "hours")]
    let seconds = (millis.unwrap() / 1e3).round() as i64;
    seconds
}

#[tokio::test(flavor = "multi_thread")]
async fn few_file_descriptors_stop_admission_and_more_bring_it_back() {
    let (lab, _origin) = lab();
    // Half of them free is too few here: a program that really has none left says less.
    let config = "[host]\nrecovery = \"1s\"\ndescriptors_degraded_percent = 60\n\
                  descriptors_critical_percent = 1";
    let agent = Agent::start(&lab, config).await;
    let id = session_id();
    agent.node.provision(&id, spec(seconds(600))).await.unwrap();
    agent.node.stands("descriptors", ConditionLevel::Ok).await;

    let used = processes::descriptors(agent.pid()).len() as u64;
    let before = limit_descriptors(agent.pid(), used * 2);
    let stood = agent
        .node
        .stands("descriptors", ConditionLevel::Degraded)
        .await;
    assert!(stood.why.contains("of this process"), "{}", stood.why);
    let refused = agent
        .node
        .provision(&session_id(), spec(seconds(600)))
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("descriptors"), "{refused}");
    assert_eq!(
        agent.node.session(&id).await.unwrap().phase(),
        Phase::Ready,
        "who lives goes on"
    );

    limit_descriptors(agent.pid(), before);
    agent.node.stands("descriptors", ConditionLevel::Ok).await;
    let next = agent
        .node
        .provision(&session_id(), spec(seconds(600)))
        .await;
    assert_eq!(next.unwrap().phase(), Phase::Ready);
}

/// How many descriptors a process may have from now on; how many it might have before.
fn limit_descriptors(pid: u32, to: u64) -> u64 {
    let pid = i32::try_from(pid).unwrap();
    let limits = procfs::process::Process::new(pid).unwrap().limits();
    let files = limits.unwrap().max_open_files;
    let value = |limit| match limit {
        LimitValue::Value(value) => value,
        LimitValue::Unlimited => u64::MAX,
    };
    let wanted = Rlimit {
        current: Some(to),
        maximum: Some(value(files.hard_limit)),
    };
    prlimit(Pid::from_raw(pid), Resource::Nofile, wanted).unwrap();
    value(files.soft_limit)
}

#[tokio::test(flavor = "multi_thread")]
async fn few_inodes_stop_admission_and_more_bring_it_back() {
    let (lab, _origin) = lab();
    let disk = SmallDisk::with_inodes(lab.state_dir().join("S"), 96, 400);
    let chaser = Setup::on(&lab)
        .set("host", "disk_degraded_bytes = 1048576")
        .set("host", "disk_critical_bytes = 1024")
        .set("host", "recovery = \"1s\"")
        .start()
        .await;
    let session = chaser.api.ready_session().await;
    chaser.node.stands("inodes", ConditionLevel::Ok).await;
    disk.crowd(12);
    let stood = chaser.node.stands("inodes", ConditionLevel::Degraded).await;
    assert!(stood.why.contains("inodes free at"), "{}", stood.why);
    let refused = chaser.api.post("/v1/sessions", &json!({})).await;
    let message = refused.refused(503, "no_capacity");
    assert!(message.contains("inodes is degraded"), "{message}");
    assert_eq!(session.get().await["status"], "ready");
    disk.disperse();
    chaser.node.stands("inodes", ConditionLevel::Ok).await;
    let next = chaser.api.ready_session().await;
    assert_eq!(next.delete().await.status.as_u16(), 204);
}
