//! What the two daemons hold: descriptors, threads, memory, files, and what runs in their name.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use anyhow::Context;
use procfs::process::Process;
use tokio::time::{Instant, sleep};

use super::super::daemon::Daemon;
use crate::{
    instance::strays,
    model::{InstanceId, NodeId},
};

/// What may be there once and for all after the first sessions.
const SLACK: usize = 16;
const SLACK_BYTES: u64 = 48 << 20;
/// What nobody knows is removed after this at the latest: grace and pause of the daemon's own sweeps.
const SWEEP: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_secs(1);

/// Of one daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Foot {
    descriptors: usize,
    threads: u64,
    resident: u64,
}

/// Of agent and relay, and the files of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Feet {
    agent: Foot,
    relay: Foot,
    files: usize,
}

impl Foot {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let process = Process::new(i32::try_from(pid)?)?;
        let status = process.status()?;
        Ok(Self {
            descriptors: process.fd_count()?,
            threads: status.threads,
            resident: status.vmrss.context("no resident memory")? << 10,
        })
    }

    fn text(self) -> String {
        format!(
            "{} descriptors, {} threads, {} MiB",
            self.descriptors,
            self.threads,
            self.resident >> 20
        )
    }
}

impl Feet {
    pub(super) async fn of(daemon: &Daemon) -> anyhow::Result<Self> {
        let [agent, relay] = daemon.pids().await?;
        Ok(Self {
            agent: Foot::of(agent)?,
            relay: Foot::of(relay)?,
            files: files(&daemon.places.runtime),
        })
    }

    pub(super) fn text(self) -> String {
        format!(
            "agent {}; relay {}; {} files of instances",
            self.agent.text(),
            self.relay.text(),
            self.files
        )
    }

    /// Sentences about what has grown since `before`.
    pub(super) fn grown_since(self, before: Self) -> Vec<String> {
        let mut grown = Vec::new();
        for (name, was, is) in [
            ("agent", before.agent, self.agent),
            ("relay", before.relay, self.relay),
        ] {
            let more = is.descriptors > was.descriptors + SLACK
                || is.threads > was.threads + SLACK as u64
                || is.resident > was.resident + SLACK_BYTES;
            if more {
                grown.push(format!("{name}: from {} to {}", was.text(), is.text()));
            }
        }
        if self.files > 0 {
            grown.push(format!("{} files of instances are left", self.files));
        }
        grown
    }
}

/// Docker may have forgotten what it was killed over: the next sweep of `node` finds it.
pub(super) async fn what_runs(node: NodeId) -> BTreeSet<InstanceId> {
    let until = Instant::now() + SWEEP;
    loop {
        let running = strays::look(node).await;
        if running.is_empty() || Instant::now() >= until {
            return running;
        }
        sleep(LOOK).await;
    }
}

fn files(runtime: &Path) -> usize {
    ["meter", "instances"]
        .iter()
        .filter_map(|folder| fs::read_dir(runtime.join(folder)).ok())
        .map(Iterator::count)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_beyond_the_slack_is_told_by_name() {
        let foot = Foot {
            descriptors: 30,
            threads: 8,
            resident: 50 << 20,
        };
        let feet = |agent, files| Feet {
            agent,
            relay: foot,
            files,
        };
        let before = feet(foot, 0);
        assert!(feet(foot, 0).grown_since(before).is_empty());
        let fat = Foot {
            descriptors: 30 + SLACK + 1,
            ..foot
        };
        let grown = feet(fat, 1).grown_since(before);
        assert_eq!(grown.len(), 2);
        assert!(
            grown[0].starts_with("agent: from 30 descriptors"),
            "{grown:?}"
        );
    }
}
