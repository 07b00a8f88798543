//! Doing what was chosen, and looking at what came of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use procfs::process::Process;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep, timeout};

use super::{
    super::{Ground, daemon::Daemon, progress, stats::Samples},
    feet,
    ledger::{Ledger, Tally},
    news::News,
    plan::Action,
    signal,
};
use crate::{
    cli::node,
    docker::{Docker, DockerError},
    model::SessionId,
    wire::node as pb,
};

const START_TRIES: u32 = 20;
const MOMENT: Duration = Duration::from_millis(800);
/// Docker is away, or the disk is full, for no longer: shorter than what ends every session.
const TROUBLE: Duration = Duration::from_secs(5);
/// An event that is on its way is here after this at the latest.
const NEWS: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Campaign<'a> {
    pub(super) ground: &'a Ground,
    pub(super) daemon: Arc<Daemon>,
    /// The one that the daemon works with.
    docker: Docker,
    random: StdRng,
    ledger: Ledger,
    news: News,
    /// Sessions that serve.
    live: Vec<String>,
    pub(super) done: BTreeMap<&'static str, u32>,
    pub(super) again: Samples,
}

impl<'a> Campaign<'a> {
    pub(super) async fn new(
        ground: &'a Ground,
        daemon: Arc<Daemon>,
        seed: u64,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            docker: match ground.engine.get() {
                Some(engine) => engine.docker().await?,
                None => ground.docker.clone(),
            },
            random: StdRng::seed_from_u64(seed),
            ledger: Ledger::default(),
            news: News::listen(daemon.places.runtime.clone(), &ground.tasks),
            live: Vec::new(),
            done: BTreeMap::new(),
            again: Samples::default(),
            ground,
            daemon,
        })
    }

    /// One thing, and what came of it.
    pub(super) async fn step(&mut self) -> anyhow::Result<()> {
        let mut action = Action::choose(&mut self.random, self.live.len());
        if action.needs_docker() && self.ground.engine.get().is_none() {
            action = Action::Rest;
        }
        let word = action.as_str();
        progress(format_args!("{word} ({} live)", self.live.len()));
        *self.done.entry(word).or_default() += 1;
        self.perform(action).await.context(word)?;
        self.observe().await
    }

    pub(super) async fn perform(&mut self, action: Action) -> anyhow::Result<()> {
        let nth = |n: usize| self.live[n].clone();
        match action {
            Action::Create => self.create().await,
            Action::CreateUnderKill => self.create_under_kill().await?,
            Action::Delete(n) => self.delete(&nth(n)).await,
            Action::DeleteUnderKill(n) => {
                let id = nth(n);
                self.delete_under_kill(&id).await?;
            }
            Action::KillAgent => self.kill_agent().await?,
            Action::KillRelay => self.kill_relay().await?,
            Action::KillBrowser(n) => {
                let id = nth(n);
                self.ledger.hurt(&id);
                self.strike(&id, &[Signal::SIGKILL]).await?;
            }
            Action::KillContainer(n) => self.kill_container(&nth(n)).await?,
            Action::Freeze(n) => {
                let freeze = [Signal::SIGSTOP, Signal::SIGCONT];
                self.strike(&nth(n), &freeze).await?;
            }
            Action::Pause(n) => self.pause(&nth(n)).await?,
            Action::Exhaust(n) => self.exhaust(&nth(n)).await?,
            Action::FillDisk => self.fill_disk().await?,
            Action::StopDocker => self.without_docker(Signal::SIGTERM).await?,
            Action::KillDocker => self.without_docker(Signal::SIGKILL).await?,
            Action::Rest => sleep(MOMENT).await,
        }
        Ok(())
    }

    async fn create(&mut self) {
        let id = SessionId::random().as_str().to_owned();
        self.ledger.ordered(&id, false);
        let answer = self.provision(&id).await;
        self.ledger.answered(&id, answer);
        self.browse(&id).await;
    }

    async fn create_under_kill(&mut self) -> anyhow::Result<()> {
        let id = SessionId::random().as_str().to_owned();
        self.ledger.ordered(&id, true);
        let soon = Duration::from_millis(self.random.random_range(0..2_500));
        if let Ok(answer) = timeout(soon, self.provision(&id)).await {
            self.ledger.answered(&id, answer);
        }
        self.kill_agent().await
    }

    async fn delete(&mut self, id: &str) {
        self.ledger.deleted(id);
        self.teardown(id).await;
    }

    async fn delete_under_kill(&mut self, id: &str) -> anyhow::Result<()> {
        self.ledger.deleted(id);
        let soon = Duration::from_millis(self.random.random_range(0..40));
        drop(timeout(soon, self.teardown(id)).await);
        self.kill_agent().await
    }

    /// `kill -9`, and the same command once more.
    async fn kill_agent(&mut self) -> anyhow::Result<()> {
        self.hear();
        self.ledger.killed();
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

    async fn kill_relay(&self) -> anyhow::Result<()> {
        let [_, relay] = self.daemon.pids().await?;
        signal(relay, Signal::SIGKILL);
        sleep(MOMENT).await;
        self.daemon.ready().await
    }

    async fn kill_container(&mut self, id: &str) -> anyhow::Result<()> {
        self.ledger.hurt(id);
        if let Some(place) = self.place(id).await? {
            self.docker.kill(&place.container_name).await?;
        }
        Ok(())
    }

    /// `docker pause` for a moment; a customer may let go meanwhile.
    async fn pause(&mut self, id: &str) -> anyhow::Result<()> {
        let Some(place) = self.place(id).await? else {
            return Ok(());
        };
        // It may have gone, and the kernel cannot freeze what it is just killing.
        if self.docker.pause(&place.container_name).await.is_err() {
            return Ok(self.docker.unpause(&place.container_name).await?);
        }
        if self.random.random_bool(0.5) {
            self.delete(id).await;
        }
        sleep(MOMENT).await;
        self.docker.unpause(&place.container_name).await?;
        Ok(())
    }

    /// What is written to its scratch space is its container's memory.
    async fn exhaust(&mut self, id: &str) -> anyhow::Result<()> {
        self.ledger.hurt(id);
        if let Some(place) = self.place(id).await? {
            let eat = ["sh", "-c", "head -c 500M /dev/zero > /tmp/eaten"];
            match self.docker.run_inside(&place.container_name, &eat).await {
                Err(DockerError::Gone { .. } | DockerError::Busy { .. }) => {}
                begun => begun?,
            }
            sleep(MOMENT * 2).await;
        }
        Ok(())
    }

    /// Nothing can be journalled for a while; whoever is let go meanwhile is gone when there is room.
    async fn fill_disk(&mut self) -> anyhow::Result<()> {
        // A full disk is critical: it takes one session after the other.
        self.ledger.hurt_all();
        let places = &self.daemon.places;
        let written = places.fill()?;
        ensure!(written > 0, "the daemon's disk was full before");
        let let_go = self.live.first().filter(|_| self.random.random_bool(0.5));
        if let Some(id) = let_go.cloned() {
            self.ledger.deleted(&id);
            drop(timeout(TROUBLE, self.teardown(&id)).await);
        } else {
            sleep(TROUBLE).await;
        }
        self.daemon.places.empty()?;
        self.takes_orders().await
    }

    /// Docker is away for a while; with live-restore nobody who lives is touched by that.
    async fn without_docker(&mut self, how: Signal) -> anyhow::Result<()> {
        let engine = self.ground.engine.get().context("no second Docker")?;
        engine.stop(how).await?;
        let let_go = self.live.first().filter(|_| self.random.random_bool(0.5));
        if let Some(id) = let_go.cloned() {
            self.delete(&id).await;
        }
        sleep(TROUBLE).await;
        engine.start().await?;
        self.takes_orders().await
    }

    /// Signals to a browser, a moment between any two. It is the child of its container's init, and no
    /// helper of its own.
    async fn strike(&self, id: &str, signals: &[Signal]) -> anyhow::Result<()> {
        let Some(place) = self.place(id).await? else {
            return Ok(());
        };
        let Ok(init) = Process::new(i32::try_from(place.container_pid)?) else {
            return Ok(());
        };
        let children = init.task_main_thread().and_then(|task| task.children());
        if let Some(browser) = children.ok().and_then(|children| children.first().copied()) {
            for one in signals {
                signal(browser, *one);
                sleep(MOMENT).await;
            }
        }
        Ok(())
    }

    fn hear(&mut self) {
        for (seq, session) in self.news.take() {
            self.ledger.heard(seq, &session);
        }
    }

    /// What the node tells of everything, against what can be.
    async fn observe(&mut self) -> anyhow::Result<()> {
        let mut node = node::connect(&self.daemon.places.runtime).await?;
        let list = node.list_sessions(pb::ListSessionsRequest::default());
        let sessions = list.await?.into_inner().sessions;
        self.hear();
        self.ledger.saw(&sessions);
        self.live = sessions
            .iter()
            .filter(|session| session.phase() == pb::Phase::Ready)
            .map(|session| session.id.clone())
            .collect();
        self.live.sort_unstable();
        Ok(())
    }

    /// Whether nothing was found yet that must not be.
    pub(super) fn holds(&self) -> bool {
        self.ledger.broken.is_empty()
    }

    /// Ends everything and waits until nothing is left.
    pub(super) async fn wind_up(&mut self) -> anyhow::Result<()> {
        self.observe().await?;
        for id in self.live.clone() {
            self.delete(&id).await;
        }
        self.daemon.settle(0).await?;
        sleep(MOMENT).await;
        self.observe().await?;
        let until = Instant::now() + NEWS;
        while self.ledger.awaited() > 0 && Instant::now() < until {
            sleep(LOOK).await;
            self.hear();
        }
        Ok(())
    }

    /// What everything came to, and what of it must not be.
    pub(super) async fn close(&mut self) -> (Tally, Vec<String>) {
        let tally = self.ledger.close();
        let mut broken = std::mem::take(&mut self.ledger.broken);
        match self.daemon.status().await {
            Ok(status) => {
                broken.extend(status.egress_addresses.iter().filter_map(|address| {
                    let held = format!("{} is still held by {}", address.ip, address.sessions);
                    (address.sessions > 0).then_some(held)
                }));
                match status.node_id.parse() {
                    Ok(node) => {
                        let runs = |id| format!("instance {id} still runs");
                        broken.extend(feet::what_runs(node).await.into_iter().map(runs));
                    }
                    Err(error) => broken.push(format!("the node has no name: {error}")),
                }
            }
            Err(error) => broken.push(format!("the node does not answer: {error}")),
        }
        (tally, broken)
    }
}
