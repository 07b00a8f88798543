//! A campaign of orders and deaths against a daemon of the bench's own. What is done next is chosen by
//! [`plan`] from a seed; whether everything that must always hold still does is [`ledger`]'s and
//! [`feet`]'s to say: one end per session and for a reason that was given, bytes that only grow, nothing
//! left of anything, daemons that stay as they were.

mod feet;
mod ledger;
mod plan;
pub(super) mod soak;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::ensure;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use procfs::process::Process;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep, timeout};

use self::{feet::Feet, ledger::Ledger, plan::Action};
use super::{
    Common, Ground,
    client::Client,
    daemon::Daemon,
    progress,
    report::{Report, Unit},
    stats::Samples,
};
use crate::{cli::node, model::SessionId, wire::node as pb};

/// Longer than a campaign: nothing ends because of its age.
const LIFETIME: i64 = 3_600;
const ANSWER: Duration = Duration::from_secs(30);
const START_TRIES: u32 = 20;
const MOMENT: Duration = Duration::from_millis(800);

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
    #[command(flatten)]
    pub(super) common: Common,
}

struct Campaign<'a> {
    ground: &'a Ground,
    daemon: Arc<Daemon>,
    random: StdRng,
    ledger: Ledger,
    /// Sessions that serve.
    live: Vec<String>,
    done: BTreeMap<&'static str, u32>,
    again: Samples,
}

pub(super) async fn measure(args: &Args, ground: &Ground) -> anyhow::Result<Report> {
    let mut campaign = Campaign {
        ground,
        daemon: ground.daemon(0, 0).await?,
        random: StdRng::seed_from_u64(args.seed),
        ledger: Ledger::default(),
        live: Vec::new(),
        done: BTreeMap::new(),
        again: Samples::default(),
    };
    // What is made with the first session and kept is no leak.
    campaign.perform(Action::Create).await?;
    campaign.wind_up().await?;
    let before = Feet::of(&campaign.daemon).await?;
    let until = Instant::now() + Duration::from_secs(args.minutes * 60);
    let mut steps = 0;
    while Instant::now() < until && args.steps.is_none_or(|most| steps < most) {
        let action = Action::choose(&mut campaign.random, campaign.live.len());
        progress(format_args!(
            "{} ({} live)",
            action.as_str(),
            campaign.live.len()
        ));
        *campaign.done.entry(action.as_str()).or_default() += 1;
        campaign.perform(action).await?;
        campaign.observe().await?;
        steps += 1;
    }
    campaign.wind_up().await?;
    campaign.ledger.close();
    let after = Feet::of(&campaign.daemon).await?;
    let mut broken = std::mem::take(&mut campaign.ledger.broken);
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
    report.notes.push(format!(
        "seed {}, {steps} steps: {:?}",
        args.seed, campaign.done
    ));
    let (sessions, endings) = (campaign.ledger.len(), campaign.ledger.endings());
    report
        .notes
        .push(format!("{sessions} sessions ended {endings:?}"));
    report.notes.push(format!("before: {}", before.text()));
    report.notes.push(format!("after: {}", after.text()));
    Ok(report)
}

impl Campaign<'_> {
    async fn perform(&mut self, action: Action) -> anyhow::Result<()> {
        let nth = |n: usize| self.live[n].clone();
        match action {
            Action::Create => {
                let id = SessionId::random().as_str().to_owned();
                self.ledger.ordered(&id, false);
                self.provision(&id).await;
                self.browse(&id).await;
            }
            Action::CreateUnderKill => self.create_under_kill().await?,
            Action::Delete(n) => {
                let id = nth(n);
                self.ledger.deleted(&id);
                self.teardown(&id).await;
            }
            Action::DeleteUnderKill(n) => {
                let id = nth(n);
                self.delete_under_kill(&id).await?;
            }
            Action::KillAgent => self.kill_agent().await?,
            Action::KillRelay => {
                let [_, relay] = self.daemon.pids().await?;
                signal(relay, Signal::SIGKILL);
                sleep(MOMENT).await;
                self.daemon.ready().await?;
            }
            Action::KillBrowser(n) => {
                let id = nth(n);
                self.ledger.hurt(&id);
                self.strike(&id, &[Signal::SIGKILL]).await?;
            }
            Action::KillContainer(n) => {
                let id = nth(n);
                self.ledger.hurt(&id);
                let place = self.place(&id).await?;
                self.ground.docker.kill(&place.container_name).await?;
            }
            Action::Freeze(n) => {
                let freeze = [Signal::SIGSTOP, Signal::SIGCONT];
                self.strike(&nth(n), &freeze).await?;
            }
            Action::Rest => sleep(MOMENT).await,
        }
        Ok(())
    }

    async fn create_under_kill(&mut self) -> anyhow::Result<()> {
        let id = SessionId::random().as_str().to_owned();
        self.ledger.ordered(&id, true);
        let soon = Duration::from_millis(self.random.random_range(0..2_500));
        drop(timeout(soon, self.provision(&id)).await);
        self.kill_agent().await
    }

    async fn delete_under_kill(&mut self, id: &str) -> anyhow::Result<()> {
        self.ledger.deleted(id);
        let soon = Duration::from_millis(self.random.random_range(0..40));
        drop(timeout(soon, self.teardown(id)).await);
        self.kill_agent().await
    }

    /// `kill -9`, and the same command once more.
    async fn kill_agent(&mut self) -> anyhow::Result<()> {
        let [agent, _] = self.daemon.pids().await.unwrap_or_default();
        if agent != 0 {
            signal(agent, Signal::SIGKILL);
        }
        for tries_left in (0..START_TRIES).rev() {
            let began = Instant::now();
            let next = self.daemon.command.lock().spawn()?;
            let mut before = std::mem::replace(&mut *self.daemon.child.lock(), next);
            before.wait().await?;
            match self.daemon.ready().await {
                Ok(()) => {
                    self.again.push(began.elapsed().as_secs_f64() * 1e3);
                    break;
                }
                // Our ports are as good as any to the kernel while nobody listens there.
                Err(error) if tries_left > 0 && error.to_string().contains("cannot listen") => {
                    sleep(MOMENT).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Orders and waits; how it came out is what the node tells later.
    async fn provision(&self, id: &str) {
        let span = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let order = pb::ProvisionRequest {
            session_id: id.to_owned(),
            spec: Some(pb::SessionSpec {
                substrate: pb::Substrate::Chromium.into(),
                ttl: span(LIFETIME),
                idle_timeout: span(LIFETIME),
                ..pb::SessionSpec::default()
            }),
            wait: true,
        };
        let asked = async {
            let mut node = node::connect(&self.daemon.places.runtime).await.ok()?;
            node.provision(order).await.ok()
        };
        drop(timeout(ANSWER, asked).await);
    }

    async fn teardown(&self, id: &str) {
        let order = pb::TeardownRequest {
            session_id: id.to_owned(),
            reason: pb::EndReason::ClientDelete.into(),
        };
        let asked = async {
            let mut node = node::connect(&self.daemon.places.runtime).await.ok()?;
            node.teardown(order).await.ok()
        };
        drop(timeout(ANSWER, asked).await);
    }

    /// One page, so that there are bytes to count; a browser that was just killed has none.
    async fn browse(&self, id: &str) {
        let visit = async {
            let stream = self.daemon.dial().await?;
            let path = format!("/sessions/{id}");
            let mut client = Client::open(stream, &path, &self.ground.tasks).await?;
            let page = client.first_page().await?;
            client.goto(&page, &self.ground.page()).await
        };
        if let Ok(Err(error)) = timeout(ANSWER, visit).await {
            progress(format_args!("no page: {error}"));
        }
    }

    async fn place(&self, id: &str) -> anyhow::Result<pb::InspectSessionResponse> {
        let mut node = node::connect(&self.daemon.places.runtime).await?;
        let asked = pb::InspectSessionRequest {
            session_id: id.to_owned(),
        };
        Ok(node.inspect_session(asked).await?.into_inner())
    }

    /// The browser's own process: under the container's init, and no helper of its own.
    async fn browser(&self, id: &str) -> anyhow::Result<Option<u32>> {
        let init = self.place(id).await?.container_pid;
        let Ok(init) = Process::new(i32::try_from(init)?) else {
            return Ok(None);
        };
        let children = init.task_main_thread().and_then(|task| task.children());
        Ok(children.ok().and_then(|children| children.first().copied()))
    }

    /// Signals to a browser, a moment between any two.
    async fn strike(&self, id: &str, signals: &[Signal]) -> anyhow::Result<()> {
        if let Some(browser) = self.browser(id).await? {
            for one in signals {
                signal(browser, *one);
                sleep(MOMENT).await;
            }
        }
        Ok(())
    }

    /// What the node tells of everything, against what can be.
    async fn observe(&mut self) -> anyhow::Result<()> {
        let mut node = node::connect(&self.daemon.places.runtime).await?;
        let list = node.list_sessions(pb::ListSessionsRequest { live_only: false });
        let sessions = list.await?.into_inner().sessions;
        self.ledger.saw(&sessions);
        self.live = sessions
            .iter()
            .filter(|session| session.phase() == pb::Phase::Ready)
            .map(|session| session.id.clone())
            .collect();
        self.live.sort_unstable();
        Ok(())
    }

    /// Ends everything and waits until nothing is left.
    async fn wind_up(&mut self) -> anyhow::Result<()> {
        self.observe().await?;
        for id in self.live.clone() {
            self.ledger.deleted(&id);
            self.teardown(&id).await;
        }
        self.daemon.settle(0).await?;
        sleep(MOMENT).await;
        self.observe().await
    }
}

/// A process that is gone already needs no signal.
fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        kill(Pid::from_raw(pid), signal).unwrap_or_default();
    }
}
