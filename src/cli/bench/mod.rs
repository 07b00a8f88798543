//! `chaser bench …`: what this host does with this program, each figure next to its baseline from
//! the same run, so that a slow machine is not taken for a slow program nor a fast one for a fast.
//!
//! | bench | question | baseline |
//! |---|---|---|
//! | [`lifecycle`] | how long do create, connect, goto and release take, one and many at a time? | a browser of the same image and flags without us |
//! | [`cdp`] | what does the gateway cost? | the same browser, dialled directly |
//! | [`profile`] | what does supervision cost a page? | a browser that nobody supervises |
//! | [`egress`] | what does the egress proxy cost? | the same server, reached directly |
//! | [`density`] | how many sessions fit, and what does each take? | a browser without us |
//! | [`chaos`] | what does killing anything at any time leave? | what must always hold |
//! | [`chaos::soak`] | do many sessions leave anything in the daemons? | the daemons before them |
//!
//! A bench starts a `chaser up` of its own ([`daemon`]) with free ports and fresh directories, and
//! baseline browsers ([`browser`]) in containers of the same kind. It removes all of them whatever
//! happens, ctrl-C included. After a `kill -9` its daemon ends by itself, with its sessions; the rest is
//! swept by the next run. The page is served by this process ([`origin`]). Rounds alternate between who is measured, so that a
//! disturbance hits all alike, and every wait has a limit.
//!
//! Results go to stdout as a table or as JSON, progress to stderr, a picture to `--plot FILE`.

mod browser;
mod cdp;
mod channel;
mod chaos;
mod client;
mod copier;
mod daemon;
mod density;
mod egress;
mod lifecycle;
mod machine;
mod origin;
mod places;
mod plot;
mod profile;
mod report;
mod stats;
mod told;

use std::{
    fmt::Display,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use anyhow::Context;
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    browser::Stable,
    chaos::Engine,
    daemon::{Daemon, Wanted},
    machine::Machine,
    report::Report,
};
use super::{
    fail::{self, FAILED, fail},
    output,
    settings::environment,
};
use crate::{
    daemon::config::{Config, Sources},
    docker::Docker,
    runtime::Tasks,
};

/// What is still being answered when a bench is over.
const TASKS_LIMIT: std::time::Duration = std::time::Duration::from_secs(3);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create, connect, goto a local page, release: cold and warm, next to a browser without us
    Lifecycle(lifecycle::Args),
    /// Round trips and throughput of the CDP gateway, next to a direct connection
    Cdp(cdp::Args),
    /// What supervision costs a page's start, next to a browser without it
    Profile(profile::Args),
    /// Bytes and connections through the egress proxy, next to direct ones
    Egress(egress::Args),
    /// Sessions with a page until a limit: memory and CPU of each, and of the daemons
    Density(density::Args),
    /// A random campaign of orders and deaths against what must always hold; the same for the same seed
    Chaos(chaos::Args),
    /// Sessions made and ended, one and twenty at a time: do the daemons stay as they were?
    Soak(chaos::soak::Args),
}

/// What every bench has.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a picture of the figures
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Configuration file (TOML) of the daemon that is measured
    #[arg(long, env = "CHASER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What a bench works with, and what is cleared away after it.
#[derive(Debug)]
struct Ground {
    docker: Docker,
    /// Name of the browser's.
    image: String,
    config_file: Option<PathBuf>,
    stable: Stable,
    /// Where the page is, outside.
    origin: SocketAddr,
    machine: Machine,
    tasks: Tasks,
    daemons: Mutex<Vec<Arc<Daemon>>>,
    /// A second Docker, where a bench has one.
    engine: OnceLock<Arc<Engine>>,
}

pub(super) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let common = command.common();
    let ground = Ground::prepare(common).await?;
    let outcome = tokio::select! {
        outcome = command.measure(&ground) => outcome,
        () = called_off() => Err(fail(FAILED, "called off")),
    };
    // Not clearing up is a failure as well, but the second one.
    let cleared = ground.clear().await;
    let report = outcome?;
    cleared?;
    if let Some(file) = &common.plot {
        fs::write(file, plot::svg(&report))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    if common.json {
        output::json(&report.json())?;
    } else {
        output::print(report.text());
    }
    Ok(if report.all_succeeded() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

impl Command {
    fn common(&self) -> &Common {
        match self {
            Self::Lifecycle(args) => &args.common,
            Self::Cdp(args) => &args.common,
            Self::Profile(args) => &args.common,
            Self::Egress(args) => &args.common,
            Self::Density(args) => &args.common,
            Self::Chaos(args) => &args.common,
            Self::Soak(args) => &args.common,
        }
    }

    async fn measure(&self, ground: &Ground) -> anyhow::Result<Report> {
        match self {
            Self::Lifecycle(args) => lifecycle::measure(args, ground).await,
            Self::Cdp(args) => cdp::measure(args, ground).await,
            Self::Profile(args) => profile::measure(args, ground).await,
            Self::Egress(args) => egress::measure(args, ground).await,
            Self::Density(args) => density::measure(args, ground).await,
            Self::Chaos(args) => chaos::measure(args, ground).await,
            Self::Soak(args) => chaos::soak::measure(args, ground).await,
        }
    }
}

impl Ground {
    async fn prepare(common: &Common) -> anyhow::Result<Self> {
        let sources = Sources {
            file: common.config.clone(),
            environment: environment(),
            flags: Vec::new(),
        };
        let config = Config::load(&sources).map_err(fail::config)?;
        let docker = Docker::connect(&config.node.docker).await?;
        let machine = Machine::look(&docker, &config.instance.image).await?;
        progress(machine.line());
        let tasks = Tasks::default();
        Ok(Self {
            stable: Stable::open(&docker, &config.instance, &tasks).await?,
            origin: origin::start(&tasks).await?,
            docker,
            image: config.instance.image.clone(),
            config_file: common.config.clone(),
            machine,
            tasks,
            daemons: Mutex::default(),
            engine: OnceLock::new(),
        })
    }

    /// A `chaser up` that is ready.
    async fn daemon(&self, max_sessions: usize, warm: usize) -> anyhow::Result<Arc<Daemon>> {
        let wanted = Wanted {
            max_sessions,
            warm,
            ..Wanted::default()
        };
        self.daemon_with(&self.docker, wanted).await
    }

    /// The same, of whatever kind.
    async fn daemon_with(
        &self,
        docker: &Docker,
        wanted: Wanted<'_>,
    ) -> anyhow::Result<Arc<Daemon>> {
        let wanted = Wanted {
            config: self.config_file.as_deref(),
            ..wanted
        };
        let daemon = Arc::new(Daemon::spawn(docker, wanted).await?);
        self.daemons.lock().push(Arc::clone(&daemon));
        daemon.ready().await?;
        Ok(daemon)
    }

    /// The page as a session's browser finds it.
    fn page(&self) -> String {
        format!("http://{}/", self.origin)
    }

    /// Ends and removes all that was started; the first failure is told after the last attempt.
    async fn clear(self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        if let Some(engine) = self.engine.get() {
            // Called off while it was away: without it nothing can be removed.
            outcome = engine.start().await;
        }
        for daemon in self.daemons.into_inner() {
            // Whoever measured has gone: there is one owner left.
            if let Some(daemon) = Arc::into_inner(daemon) {
                outcome = outcome.and(daemon.stop().await);
            }
        }
        if let Some(engine) = self.engine.get() {
            outcome = outcome.and(engine.close().await);
        }
        outcome = outcome.and(self.stable.clear().await.map_err(Into::into));
        if let Err(stuck) = self.tasks.drain(TASKS_LIMIT).await {
            tracing::debug!(%stuck, "connections of a bench were cut");
        }
        outcome
    }
}

/// SIGTERM or ctrl-C.
async fn called_off() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// What is going on, for whoever waits.
#[expect(clippy::print_stderr, reason = "progress is not a result")]
fn progress(text: impl Display) {
    eprintln!("bench: {text}");
}
