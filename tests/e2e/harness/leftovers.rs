//! What a program may leave behind, and whether it did.

use std::{net::SocketAddr, os::unix::fs::FileTypeExt, path::PathBuf};

use super::{
    Chaser, docker,
    patience::{blocking, seconds},
    processes,
};

/// Everything that a running `chaser up` holds on this machine.
pub struct Held {
    node: String,
    relay: Option<u32>,
    namespaces: Vec<processes::Namespace>,
    runtime_dir: PathBuf,
    ports: Vec<SocketAddr>,
}

/// What a daemon without sessions holds: the same before and after them.
#[derive(Debug, PartialEq, Eq)]
pub struct Footprint {
    pub containers: Vec<String>,
    pub counters: Vec<PathBuf>,
    pub foreign_sockets: usize,
    pub agent_descriptors: usize,
    pub relay_descriptors: usize,
}

impl Held {
    pub fn of(chaser: &Chaser) -> Self {
        let relay = std::fs::read_to_string(chaser.runtime_dir.join("relay.pid"));
        let namespaces = docker::containers_of(&chaser.node_id)
            .iter()
            .filter_map(|name| docker::pid(name))
            .filter_map(processes::Namespace::of)
            .collect();
        Self {
            node: chaser.node_id.clone(),
            relay: relay.ok().and_then(|text| text.trim().parse().ok()),
            namespaces,
            runtime_dir: chaser.runtime_dir.clone(),
            ports: chaser.ports(),
        }
    }

    /// Sentences about everything that is still there after a moment of grace.
    pub fn what_is_left(&self) -> Vec<String> {
        let mut left = Vec::new();
        blocking(seconds(5), || {
            left = self.look();
            left.is_empty()
        });
        left
    }

    /// For the test after this one.
    pub fn remove(&self) {
        if let Some(relay) = self.relay
            && processes::command_line(relay).contains("chaser")
        {
            processes::kill(relay);
        }
        docker::remove_all_of(&self.node);
        for init in processes::inits_of(&self.node) {
            processes::kill(init);
        }
    }

    fn look(&self) -> Vec<String> {
        let containers = docker::containers_of(&self.node)
            .into_iter()
            .map(|name| format!("container {name}"));
        let processes = processes::inits_of(&self.node)
            .into_iter()
            .map(|pid| format!("a container's process with pid {pid}"));
        let relay = self
            .relay
            .filter(|pid| processes::lives(*pid))
            .map(|pid| format!("relay with pid {pid}"));
        let namespaces = self
            .namespaces
            .iter()
            .filter(|namespace| namespace.is_inhabited())
            .map(|namespace| format!("network namespace {}", namespace.number()));
        let files = processes::files_below(&self.runtime_dir)
            .into_iter()
            .filter(|path| {
                let below = |name| path.starts_with(self.runtime_dir.join(name));
                let socket = path.metadata().is_ok_and(|m| m.file_type().is_socket());
                socket || below("meter") || below("instances")
            })
            .map(|path| path.display().to_string());
        let ports = self
            .ports
            .iter()
            .filter(|port| std::net::TcpStream::connect(port).is_ok())
            .map(|port| format!("a listener on {port}"));
        containers
            .chain(processes)
            .chain(relay)
            .chain(namespaces)
            .chain(files)
            .chain(ports)
            .collect()
    }
}

impl Footprint {
    pub fn of(chaser: &Chaser) -> Self {
        let (agent, relay) = (chaser.pid(), chaser.relay_pid());
        Self {
            containers: docker::containers_of(&chaser.node_id),
            counters: ["meter", "instances"]
                .iter()
                .flat_map(|name| processes::files_below(&chaser.runtime_dir.join(name)))
                .collect(),
            foreign_sockets: [agent, relay].map(processes::foreign_sockets).iter().sum(),
            agent_descriptors: processes::descriptors(agent).len(),
            relay_descriptors: processes::descriptors(relay).len(),
        }
    }
}
