//! What the host can do: probes for `chaser doctor`, a [`monitor`] for the node, and what the kernel
//! counts of a container ([`cgroup`]).
//!
//! A probe is one small function that looks and never mends; it answers with what it found and with
//! what an operator would do about it. Two of them look by doing: one sandboxed browser is really
//! started, exactly as a session's would be, and its network namespace is really entered.

mod ability;
mod certificates;
pub mod cgroup;
mod engine;
mod machine;
pub mod monitor;
mod probe;
mod trial;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use crate::{
    docker::{ContainerSpec, Docker},
    runtime::wall_now,
    tls,
};

pub use ability::{Ability, Need, Supply};
pub use probe::{Outcome, Probe};

/// What is to be examined: the host as this configuration would use it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Docker's socket.
    pub docker: String,
    /// The directory of sockets and counters.
    pub runtime_dir: PathBuf,
    /// The directory of the databases.
    pub state_dir: PathBuf,
    /// The user that the relay becomes.
    pub relay_user: String,
    /// What will be listened on, by name.
    pub listen: Vec<(&'static str, SocketAddr)>,
    /// What will be shown there.
    pub tls: tls::Config,
    /// Kinds of sessions that may have privileged containers.
    pub privileged: Vec<&'static str>,
    /// The addresses that sessions leave from.
    pub egress: Vec<IpAddr>,
    /// A browser like that of a session, to be started and removed again.
    pub trial: ContainerSpec,
    /// Where its DevTools listens, inside.
    pub devtools: SocketAddr,
}

/// Examines everything; `tell` hears of each probe as soon as it is done.
pub async fn examine(subject: &Subject, mut tell: impl FnMut(&Probe)) -> Vec<Probe> {
    let mut done = Vec::new();
    let mut add = |probe: Probe| {
        tell(&probe);
        done.push(probe);
    };
    machine::probes(subject).into_iter().for_each(&mut add);
    add(certificates::probe(&subject.tls, wall_now()));
    match Docker::connect(&subject.docker).await {
        Ok(docker) => {
            engine::probes(&docker, &subject.trial.image)
                .await
                .into_iter()
                .for_each(&mut add);
            trial::probes(&docker, subject)
                .await
                .into_iter()
                .for_each(&mut add);
        }
        Err(error) => {
            add(Probe::failed(
                engine::NAME,
                error.to_string(),
                "start Docker: `systemctl start docker`, or `make setup` where no systemd runs",
            ));
            for name in engine::BEHIND.iter().chain(trial::NAMES) {
                add(Probe::failed(
                    name,
                    "unknown: Docker does not answer",
                    "see `docker` above",
                ));
            }
        }
    }
    done
}

/// The worst outcome among probes.
#[must_use]
pub fn verdict(probes: &[Probe]) -> Outcome {
    probes
        .iter()
        .map(|probe| probe.outcome)
        .max()
        .unwrap_or(Outcome::Ok)
}
