//! How many sessions fit, and what each takes: sessions with a page open are added, one by one,
//! until something says no; then all of them idle for a while and are looked at.
//!
//! A session's memory is what its control group is charged with, its processes' own share beside
//! it; its CPU is that of the idle while. The daemons' memory is what `/proc` calls resident: what
//! each has of its own, before the first session and with all of them, and the pages of the program
//! itself, which agent and relay share. The baseline is the same page in browsers without us.

use std::time::Duration;

use anyhow::Context;
use procfs::process::Process;
use tokio::time::{Instant, sleep};

use crate::host::cgroup::{Group, real};

use super::{
    Common, Ground,
    client::{Client, Page},
    daemon::{Daemon, Session},
    progress,
    report::{Goal, Report, Sense, Unit},
    stats::{Samples, whole},
};

/// After the last page, before anything is looked at.
const CALM: Duration = Duration::from_secs(3);
/// What may stay unused, at least, so that the bench does not bring the host down.
const SPARE_MIB: u64 = 1024;
/// The goal for both daemons: so much, and so much per session.
const DAEMONS_MIB: f64 = 40.0;
const SESSION_KIB: f64 = 150.0;
/// The goal for what the relay has of its own per session, its client included.
const RELAY_KIB: f64 = 64.0;
const MIB: f64 = 1_048_576.0;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Sessions at most [default: as many as fit]
    #[arg(long, value_name = "N", default_value_t = 10_000, hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max: u32,
    /// Seconds in which the sessions' CPU is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=600))]
    idle: u64,
    /// Browsers of the baseline
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=100))]
    baseline: u32,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Something with a page open.
struct Open {
    group: Group,
    /// Held: a session without a client would end as idle.
    _client: (Client, Page),
}

/// What was found of several of them.
#[derive(Default)]
struct Found {
    charged: Samples,
    anonymous: Samples,
    millicores: Samples,
}

/// Resident bytes: of their own, and of the program that both run.
#[derive(Clone, Copy)]
struct Daemons {
    agent: f64,
    relay: f64,
    program: f64,
}

pub(super) async fn measure(args: &Args, ground: &Ground) -> anyhow::Result<Report> {
    let mut report = Report::new("density", ground.machine.clone());
    let idle = Duration::from_secs(args.idle);
    progress("the baseline");
    let alone = baseline(args.baseline, ground, idle).await?;
    let daemon = ground.daemon(0, 0).await?;
    // What is made with the first session and kept is not what a session takes.
    let (first, opened) = open(&daemon, ground).await?;
    drop(opened);
    daemon.delete(&first).await?;
    daemon.settle(0).await?;
    let before = Daemons::look(&daemon).await?;
    let mut took = Samples::default();
    let mut sessions = Vec::new();
    let stopped = fill(args, ground, &daemon, &mut sessions, &mut took).await?;
    report.notes.push(format!("stopped by: {stopped}"));
    let found = look_at(&sessions, idle).await?;
    let after = Daemons::look(&daemon).await?;
    for (stage, unit, base, own) in [
        (
            "memory, charged",
            Unit::Mebibytes,
            alone.charged,
            found.charged,
        ),
        (
            "memory, own",
            Unit::Mebibytes,
            alone.anonymous,
            found.anonymous,
        ),
        (
            "CPU, idle",
            Unit::Millicores,
            alone.millicores,
            found.millicores,
        ),
    ] {
        let (base, own) = (base.summary(), own.summary());
        report.pair(stage, unit, ("browser alone", base), ("session", own));
    }
    report.row(
        "session",
        "create + first page",
        Unit::Millis,
        took.summary(),
    );
    tell_daemons(&mut report, before, after, whole(sessions.len()));
    Ok(report)
}

/// Adds sessions until something says no, and says what.
async fn fill(
    args: &Args,
    ground: &Ground,
    daemon: &Daemon,
    sessions: &mut Vec<Open>,
    took: &mut Samples,
) -> anyhow::Result<String> {
    let max = usize::try_from(args.max)?;
    while sessions.len() < max {
        let spare = daemon.status().await?.memory_available_bytes >> 20;
        if spare < SPARE_MIB {
            return Ok(format!("{spare} MiB of the host's memory left"));
        }
        let began = Instant::now();
        match open(daemon, ground).await {
            Ok((_session, opened)) => sessions.push(opened),
            Err(error) => return Ok(format!("{error:#}")),
        }
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        let count = sessions.len();
        progress(format_args!(
            "{count} sessions; {spare} MiB were left before the last"
        ));
    }
    Ok("--max".to_owned())
}

fn tell_daemons(report: &mut Report, before: Daemons, after: Daemons, sessions: f64) {
    let one = |value: f64| [value].into_iter().collect::<Samples>().summary();
    report.row("sessions", "at once", Unit::Sessions, one(sessions));
    for (name, before, after) in [
        ("agent", before.agent, after.agent),
        ("relay", before.relay, after.relay),
    ] {
        report.row(name, "memory, own", Unit::Mebibytes, one(after / MIB));
        if sessions > 0.0 {
            let each = (after - before).max(0.0) / 1024.0 / sessions;
            report.row(name, "per session", Unit::Kibibytes, one(each));
            if name == "relay" {
                report.goals.push(Goal {
                    name: "relay, own memory per session".to_owned(),
                    value: Some(each),
                    limit: RELAY_KIB,
                    sense: Sense::AtMost,
                    unit: "KiB",
                });
            }
        }
    }
    let program = one(after.program / MIB);
    report.row("agent + relay", "program", Unit::Mebibytes, program);
    report.goals.push(Goal {
        name: format!("agent + relay with {sessions} sessions"),
        value: Some((after.agent + after.relay + after.program) / MIB),
        limit: DAEMONS_MIB + SESSION_KIB / 1024.0 * sessions,
        sense: Sense::AtMost,
        unit: "MiB",
    });
}

async fn baseline(count: u32, ground: &Ground, idle: Duration) -> anyhow::Result<Found> {
    let (mut browsers, mut opened) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let browser = ground.stable.start().await?;
        let stream = browser.dial().await?;
        let mut client = Client::open(stream, browser.path(), &ground.tasks).await?;
        let page = client.first_page().await?;
        client.goto(&page, &browser.page()).await?;
        opened.push(Open {
            group: Group::of(browser.pid())?,
            _client: (client, page),
        });
        browsers.push(browser);
    }
    let found = look_at(&opened, idle).await?;
    for browser in &browsers {
        ground.stable.remove(browser).await?;
    }
    Ok(found)
}

async fn open(daemon: &Daemon, ground: &Ground) -> anyhow::Result<(Session, Open)> {
    let session = daemon.create().await?;
    let stream = daemon.dial().await?;
    let mut client = Client::open(stream, session.path(), &ground.tasks).await?;
    let page = client.first_page().await?;
    client.goto(&page, &ground.page()).await?;
    let (pid, _namespace) = daemon.inside(&session).await?;
    let open = Open {
        group: Group::of(pid)?,
        _client: (client, page),
    };
    Ok((session, open))
}

async fn look_at(opened: &[Open], idle: Duration) -> anyhow::Result<Found> {
    sleep(CALM).await;
    let mut found = Found::default();
    let cpu = |open: &Open| open.group.cpu_seconds();
    let began = Instant::now();
    let before = opened
        .iter()
        .map(cpu)
        .collect::<std::io::Result<Vec<_>>>()?;
    sleep(idle).await;
    let seconds = began.elapsed().as_secs_f64();
    for (open, before) in opened.iter().zip(before) {
        let memory = open.group.memory()?;
        found.charged.push(real(memory.charged) / MIB);
        found.anonymous.push(real(memory.anonymous) / MIB);
        found
            .millicores
            .push((cpu(open)? - before) / seconds * 1000.0);
    }
    Ok(found)
}

impl Daemons {
    async fn look(daemon: &Daemon) -> anyhow::Result<Self> {
        let [agent, relay] = daemon.pids().await?.map(resident);
        let ((agent, agents), (relay, relays)) = (agent?, relay?);
        Ok(Self {
            agent,
            relay,
            program: agents.max(relays),
        })
    }
}

/// Bytes of a process's own, and those that it shares with whoever runs the same program.
fn resident(pid: u32) -> anyhow::Result<(f64, f64)> {
    let status = Process::new(i32::try_from(pid)?)?.status()?;
    let kibibytes = |count: Option<u64>| {
        let count = count.context("a daemon has ended, or /proc does not say what it uses")?;
        anyhow::Ok(real(count) * 1024.0)
    };
    Ok((kibibytes(status.rssanon)?, kibibytes(status.rssfile)?))
}
