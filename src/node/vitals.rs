//! The host's vitals, taken at every interval: what the kernel says, whether Docker and the relay
//! answer, and what the node itself knows (addresses, removals).
//!
//! Docker and the relay are asked by tasks of their own, so that one that hangs delays no measure.

use std::{collections::HashMap, future::Future, path::PathBuf, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Node, link, shed::Shedder};
use crate::{
    host::monitor::{
        Condition, Config, Facts, Kernel, Level, LostRoute, Monitor, Pulse, Sampler, Standing,
        Stuck,
    },
    instance::{View, container_name},
    model::{InstanceId, Phase},
    runtime::{Tasks, boot_now, wall_now},
    session::What,
};

/// An answer that takes longer is none.
const ANSWER: Duration = Duration::from_secs(2);

/// What measures one host.
#[derive(Debug)]
pub(super) struct Vitals {
    config: Config,
    paths: Vec<PathBuf>,
    docker: Pulse,
    relay: Pulse,
    /// Since when routes have been gone.
    lost: HashMap<String, Instant>,
    /// Since when instances have been leaving.
    leaving: HashMap<InstanceId, Instant>,
}

impl Vitals {
    pub(super) fn new(node: &Node, config: Config, state_dir: PathBuf) -> Self {
        let runtime_dir = node.instances().tools().paths.root.clone();
        Self {
            config,
            paths: vec![state_dir, runtime_dir],
            docker: Pulse::new(),
            relay: Pulse::new(),
            lost: HashMap::new(),
            leaving: HashMap::new(),
        }
    }

    /// Spawns what asks, and what measures and tells the guard.
    pub(super) fn start(self, node: &Node, tasks: &Tasks) {
        let interval = self.config.sample_interval;
        let docker = node.instances().tools().docker.clone();
        ask("docker pulse", (&self.docker, interval), tasks, move || {
            let docker = docker.clone();
            async move { docker.ping(ANSWER).await.map_err(|error| error.to_string()) }
        });
        let relay = node.instances().tools().relay.clone();
        ask("relay pulse", (&self.relay, interval), tasks, move || {
            let relay = relay.clone();
            async move { relay.ping(ANSWER).await.map_err(|error| error.to_string()) }
        });
        let node = node.clone();
        let at_hand = tasks.clone();
        tasks.spawn("vitals", |stop| self.run(node, at_hand, stop));
    }

    async fn run(mut self, node: Node, tasks: Tasks, stop: CancellationToken) {
        let docker = node.instances().tools().docker.clone();
        // Where Docker writes; one that cannot say so now is watched at the other places.
        match docker.info().await {
            Ok(info) => self.paths.push(info.root_dir.into()),
            Err(error) => warn!(%error, "Docker's own directory is not watched"),
        }
        let mut sampler = Some(Sampler::new(self.paths.clone()));
        let mut monitor = Monitor::new(self.config.clone(), wall_now());
        // When the last relay that hung was ended.
        let mut ended: Option<Instant> = None;
        let mut shedder = Shedder::new(self.config.shed_interval, self.config.route_critical);
        let mut tick = tokio::time::interval(self.config.sample_interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => return,
            }
            let Some((at, kernel)) = look(&mut sampler).await else {
                return;
            };
            look_for_ooms(&node);
            let facts = self.facts(&node, kernel);
            let changed = monitor.observe(&facts, at, wall_now());
            let standings = monitor.standings();
            for standing in &standings {
                if changed.contains(&standing.condition) {
                    tell(&node, standing);
                }
            }
            if let Some(Standing {
                level: Level::Critical,
                ..
            }) = standings
                .iter()
                .find(|one| one.condition == Condition::Relay)
                && ended.is_none_or(|ended| ended.elapsed() >= self.config.relay_critical)
            {
                ended = Some(Instant::now());
                let node = node.clone();
                tasks.spawn(
                    "hung relay",
                    |_stop| async move { link::end_hung(&node).await },
                );
            }
            node.guard().tell(standings.clone(), self.spare(&facts));
            shedder.act(&node, &standings, &facts.lost_routes).await;
            node.inner.wheels.vitals.turn();
        }
    }

    /// What is available beyond the reserve, below which the host is degraded.
    fn spare(&self, facts: &Facts) -> Option<u64> {
        let memory = facts.kernel.memory?;
        let reserve = memory.total / 100 * u64::from(self.config.memory_degraded_percent);
        Some(memory.available.saturating_sub(reserve))
    }

    fn facts(&mut self, node: &Node, kernel: Kernel) -> Facts {
        Facts {
            kernel,
            docker: self.docker.beat(),
            docker_events: node.inner.ear.beat(),
            relay: self.relay.beat(),
            lost_routes: self.lost_routes(node),
            leaving: self.leaving(node),
        }
    }

    fn lost_routes(&mut self, node: &Node) -> Vec<LostRoute> {
        let routes = node.routes().occupancy().into_iter();
        let gone = routes.filter(|one| !one.usable || one.outage.is_some());
        let gone: Vec<_> = gone
            .map(|one| (one.route.name.clone(), one.outage))
            .collect();
        self.lost
            .retain(|route, _| gone.iter().any(|(name, _)| name == route));
        let rows: Vec<_> = node.sessions().all().iter().map(|s| s.row()).collect();
        let on = |route: &str| {
            let live = rows.iter().filter(|row| row.phase != Phase::Ended);
            live.filter(|row| row.held_route().as_deref() == Some(route))
                .count()
        };
        gone.iter()
            .map(|(route, outage)| LostRoute {
                gone_for: outage.unwrap_or_else(|| {
                    let since = self.lost.entry(route.clone());
                    since.or_insert_with(Instant::now).elapsed()
                }),
                sessions: on(route),
                route: route.clone(),
            })
            .collect()
    }

    fn leaving(&mut self, node: &Node) -> Option<Stuck> {
        let all = node.instances().all();
        let going: Vec<_> = all
            .iter()
            .filter(|instance| matches!(instance.view(), View::Destroying(_)))
            .map(|instance| instance.id)
            .collect();
        self.leaving.retain(|id, _| going.contains(id));
        for id in &going {
            self.leaving.entry(*id).or_insert_with(Instant::now);
        }
        let (oldest, since) = self.leaving.iter().min_by_key(|(_, since)| **since)?;
        Some(Stuck {
            name: container_name(*oldest),
            leaving_for: since.elapsed(),
            count: going.len(),
        })
    }
}

/// Asks again and again, one question at a time.
fn ask<F>(
    name: &'static str,
    (pulse, interval): (&Pulse, Duration),
    tasks: &Tasks,
    question: impl Fn() -> F + Send + 'static,
) where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let pulse = pulse.clone();
    tasks.spawn(name, move |stop| async move {
        loop {
            tokio::select! {
                answer = question() => pulse.record(answer),
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stop.cancelled() => return,
            }
        }
    });
}

/// The kernel's answers and when they were given; `None` when the process stops.
async fn look(sampler: &mut Option<Sampler>) -> Option<(Duration, Kernel)> {
    let mut at_work = sampler.take()?;
    let booted = Duration::from_micros(boot_now().ok()?.micros);
    // A file system that hangs must not hold up the executor.
    let looked = tokio::task::spawn_blocking(move || {
        let kernel = at_work.look(booted, wall_now());
        (at_work, kernel)
    });
    let (at_work, kernel) = looked.await.ok()?;
    *sampler = Some(at_work);
    Some((booted, kernel))
}

/// Looks at the kernel's count of kills for memory in every container. One kill that takes the browser ends
/// its session by itself; any other is its page's business.
fn look_for_ooms(node: &Node) {
    for instance in node.instances().all() {
        let kills = instance.new_ooms();
        if kills > 0 {
            info!(instance = %instance.id, kills, "processes were killed: their container's memory ran out");
        }
    }
}

/// A condition that changed its level goes to the log and to everybody who watches.
fn tell(node: &Node, standing: &Standing) {
    let (condition, level) = (standing.condition, standing.level);
    if level == Level::Ok || condition == Condition::Clock {
        info!(%condition, %level, "{}", standing.why);
    } else {
        warn!(%condition, %level, "{}", standing.why);
    }
    node.hub().publish(What::Condition(standing.clone()));
}
