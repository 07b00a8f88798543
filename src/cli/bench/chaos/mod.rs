//! A campaign of orders and deaths against a daemon of the bench's own. What is done next is chosen by
//! [`plan`] from a seed, and done by [`campaign`]; whether everything that must always hold still does is
//! [`ledger`]'s and [`feet`]'s to say: one end per session, told once and for a reason that was given,
//! bytes that only grow, nothing left of anything, daemons that stay as they were.
//!
//! The daemon's state is on a small disk of its own, so that it can be filled. Docker is stopped and
//! killed only where `--dockerd` gives a place for a second one ([`engine`]).

mod campaign;
mod engine;
mod feet;
mod ledger;
mod news;
mod orders;
mod plan;
pub(super) mod soak;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::Instant;

pub(super) use self::engine::Engine;
use self::{campaign::Campaign, feet::Feet, ledger::Tally, plan::Action};
use super::{
    Common, Ground,
    daemon::{Daemon, Wanted},
    progress,
    report::{Report, Unit},
};

/// Of the daemon's disk: a journal of thousands of sessions, and the thresholds below.
const DISK_MIB: u32 = 96;
/// Of a container: less than its scratch space may take, so that it can run out.
const CONTAINER_MIB: u64 = 384;
/// One for each session, those that are just going included.
const ADDRESSES: u32 = 12;
/// Of the daemons' log, when something is found.
const LOG_LINES: usize = 80;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// How long
    #[arg(long, value_name = "MINUTES", default_value_t = 3,
          value_parser = clap::value_parser!(u64).range(1..=50))]
    minutes: u64,
    /// Which campaign
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// No more than so many steps [default: as many as there is time for]
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Where a second Docker keeps its data, to be stopped and killed as well; kept for the next time
    #[arg(long, value_name = "DIR")]
    dockerd: Option<PathBuf>,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) async fn measure(args: &Args, ground: &Ground) -> anyhow::Result<Report> {
    let daemon = daemon(args, ground).await?;
    let mut campaign = Campaign::new(ground, daemon, args.seed).await?;
    // What is made with the first session and kept is no leak.
    campaign.perform(Action::Create).await?;
    campaign.wind_up().await?;
    let before = Feet::of(&campaign.daemon).await?;
    let until = Instant::now() + Duration::from_secs(args.minutes * 60);
    let mut steps = 0;
    // After the first thing that must not be, what comes next says less than the log does.
    while campaign.holds() && Instant::now() < until && args.steps.is_none_or(|most| steps < most) {
        steps += 1;
        let step = campaign.step().await;
        step.with_context(|| format!("seed {}, step {steps}", args.seed))?;
    }
    if !campaign.holds() {
        let log = campaign.daemon.places.log_tail(LOG_LINES);
        progress(format_args!(
            "what must not be was found; the log ends\n{log}"
        ));
    }
    campaign.wind_up().await?;
    let after = Feet::of(&campaign.daemon).await?;
    let (tally, mut broken) = campaign.close().await;
    broken.extend(after.grown_since(before));
    ensure!(
        broken.is_empty(),
        "seed {}, {steps} steps: {}",
        args.seed,
        broken.join("; ")
    );
    let mut report = Report::new("chaos", ground.machine.clone());
    report.row(
        "agent",
        "ready again",
        Unit::Millis,
        campaign.again.summary(),
    );
    report.notes = vec![
        format!("seed {}, {steps} steps: {:?}", args.seed, campaign.done),
        tally.text(),
        format!("before: {}", before.text()),
        format!("after: {}", after.text()),
    ];
    if args.dockerd.is_none() {
        let left_out = "Docker was neither stopped nor killed: no --dockerd";
        report.notes.push(left_out.to_owned());
    }
    Ok(report)
}

/// A daemon with a disk that can be filled, containers that can run out of memory, addresses that can be
/// forgotten, and perhaps a Docker that can be stopped.
async fn daemon(args: &Args, ground: &Ground) -> anyhow::Result<Arc<Daemon>> {
    let addresses: Vec<_> = (2..2 + ADDRESSES).map(|n| format!("127.0.0.{n}")).collect();
    let bytes = |mib: u64| (mib << 20).to_string();
    let mut keys = vec![
        ("CHASER_INSTANCE_MEMORY_BYTES", bytes(CONTAINER_MIB)),
        ("CHASER_EGRESS_ADDRESSES", addresses.join(",")),
        ("CHASER_HOST_DISK_DEGRADED_BYTES", bytes(32)),
        ("CHASER_HOST_DISK_CRITICAL_BYTES", bytes(16)),
        ("CHASER_HOST_RECOVERY", "1s".to_owned()),
    ];
    let docker = if let Some(data) = &args.dockerd {
        let engine = Engine::open(data, &ground.docker, &ground.image).await?;
        let engine = ground.engine.get_or_init(|| Arc::new(engine));
        keys.push(("CHASER_NODE_DOCKER", Engine::socket()));
        engine.docker().await?
    } else {
        ground.docker.clone()
    };
    let wanted = Wanted {
        disk: Some(DISK_MIB),
        keys: &keys,
        ..Wanted::default()
    };
    ground.daemon_with(&docker, wanted).await
}

impl Tally {
    fn text(&self) -> String {
        let sessions: usize = self.ended.values().sum();
        format!(
            "{} orders: {sessions} sessions ended {:?}, {} were refused, {} died with the agent \
             untaken; {} ends were not told because the agent died",
            self.orders, self.ended, self.refused, self.untaken, self.unheard
        )
    }
}

/// A process that is gone already needs no signal.
fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        kill(Pid::from_raw(pid), signal).unwrap_or_default();
    }
}
