//! Hooks: what happens on this node, told to a program or a web server of the operator's.
//!
//! ```text
//!   hub, conditions, pool ─▶ watch ─▶ S/hooks/<target>/<number>.json ─▶ deliver ─▶ program, web server
//!                            (pure)     written before it is sent        one at a time, in order
//! ```
//!
//! | event | when | data |
//! |---|---|---|
//! | `node.ready` | it takes orders, at the start or again | |
//! | `node.draining` | a drain was ordered | `deadline`, `sessions` |
//! | `substrate_down` | something under sessions died | `cause`, `condition`, `session_ids` |
//! | `pool.low` | fewer than half of the warm browsers of a profile stand ready | `profile`, `parked`, `target` |
//! | `capacity.exhausted` | no session more would be taken, though the node is in service | `slots`, `sessions` |
//! | `session.ended` | traffic is cut and the bytes are final | the session |
//!
//! At least once: a letter is on disk before it is sent and leaves the disk when it was taken, so a receiver
//! may see one twice and never misses one; `id` (the header `Idempotency-Key`) is the same then. What the
//! agent missed because it was killed is found in the journal by the next one. Nothing waits for a
//! receiver: the queue is bounded, and when it is full the oldest letter goes, which is counted.

mod deliver;
mod queue;
mod sign;
mod watch;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use secrecy::SecretString;
use serde::Deserialize;

use self::{deliver::Target, queue::Queue};
use super::{Node, web::Web};
use crate::runtime::Tasks;

/// Every event, by name.
pub const EVENTS: [&str; 6] = [
    "node.ready",
    "node.draining",
    "substrate_down",
    "pool.low",
    "capacity.exhausted",
    "session.ended",
];

/// `[hooks]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A program that is run for each event; empty for none.
    pub exec: String,
    /// Where each event is posted; empty for nowhere.
    pub url: String,
    /// The file with the key that posts are signed with.
    pub secret_file: String,
    /// Which events; names of [`EVENTS`].
    pub events: Vec<String>,
    /// How long one delivery may take.
    #[serde(with = "crate::model::duration")]
    pub timeout: Duration,
    /// How many letters wait at most, for each target.
    pub queue: u32,
    /// A letter that nobody has taken for this long is given up.
    #[serde(with = "crate::model::duration")]
    pub give_up_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            exec: String::new(),
            url: String::new(),
            secret_file: String::new(),
            events: EVENTS.map(str::to_owned).to_vec(),
            timeout: Duration::from_secs(10),
            queue: 10_000,
            give_up_after: Duration::from_secs(24 * 3600),
        }
    }
}

/// Why there are no hooks.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used for hooks: {source}", path.display())]
pub struct HooksError {
    /// A directory or the key.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// What became of the letters of one target since the agent started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookStatus {
    /// `exec` or `webhook`.
    pub target: &'static str,
    /// How many wait.
    pub pending: u64,
    /// How many were taken.
    pub delivered: u64,
    /// Attempts that failed; each is made again.
    pub failed: u64,
    /// How many were given up: too old, or the queue was full.
    pub dropped: u64,
}

/// The hooks of one node, opened and not yet started.
#[derive(Debug, Clone)]
pub(super) struct Hooks {
    config: Config,
    seen: PathBuf,
    targets: Vec<(Arc<Queue>, Target)>,
}

impl Hooks {
    /// Opens the queues; none without a target.
    pub(super) fn open(config: Config, state_dir: &Path) -> Result<Self, HooksError> {
        let dir = state_dir.join("hooks");
        let mut wanted = Vec::new();
        if !config.exec.is_empty() {
            wanted.push(Target::Exec(config.exec.clone().into()));
        }
        if !config.url.is_empty() {
            let path = PathBuf::from(&config.secret_file);
            let key = fs::read_to_string(&path).map_err(|source| HooksError { path, source })?;
            wanted.push(Target::Webhook {
                url: config.url.clone(),
                key: SecretString::from(key.trim()),
                web: Web::new(),
            });
        }
        let limit = usize::try_from(config.queue).unwrap_or(usize::MAX);
        let open = |target: Target| {
            let path = dir.join(target.name());
            let queue = Queue::open(path.clone(), limit);
            let queue = queue.map_err(|source| HooksError { path, source })?;
            Ok((Arc::new(queue), target))
        };
        Ok(Self {
            seen: dir.join("seen"),
            targets: wanted.into_iter().map(open).collect::<Result<_, _>>()?,
            config,
        })
    }

    /// Tells and delivers until the tasks stop.
    pub(super) fn start(&self, node: &Node, tasks: &Tasks) {
        if self.targets.is_empty() {
            return;
        }
        for (queue, target) in self.targets.clone() {
            let config = self.config.clone();
            let run = |stop| deliver::run(queue, target, config, stop);
            tasks.spawn("hook", run);
        }
        let queues = self.targets.iter().map(|(queue, _)| Arc::clone(queue));
        let clerk = watch::Clerk::new(
            queues.collect(),
            self.config.events.clone(),
            self.seen.clone(),
        );
        let node = node.clone();
        tasks.spawn("hooks", |stop| watch::run(node, clerk, stop));
    }

    pub(super) fn status(&self) -> Vec<HookStatus> {
        let status = |(queue, target): &(Arc<Queue>, Target)| queue.status(target.name());
        self.targets.iter().map(status).collect()
    }
}
