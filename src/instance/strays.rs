//! Containers whose processes run on without Docker: found by what they were started with.
//!
//! Docker may be wrong about a container: killed while it starts one, or with data that are lost, it
//! takes it for one that does not run, or knows it no more. Its processes carry instance and node in
//! their environment, and its shim serves from the folder that says with which environment its init is
//! to run, or was about to: so both are found without Docker and ended without it. The init takes
//! everything in its pid namespace along; the shim is nobody's any more.
//! A runtime that hides its processes from the host (`runsc`) hides them from this too; a shim that
//! containerd forgot after it had deleted the container holds nothing of ours and is left to it.

use std::{collections::BTreeSet, ffi::OsStr, fs, io, os::fd::AsFd};

use procfs::process::{Process, all_processes};
use rustix::process::{Signal, pidfd_send_signal};
use serde::Deserialize;
use tracing::warn;

use crate::{
    model::{InstanceId, NodeId},
    netns,
};

/// Environment of a container: the instance that it is.
const INSTANCE: &str = "CHASER_INSTANCE";
/// Environment of a container: the node that made it.
const NODE: &str = "CHASER_NODE";
/// How the names of the processes begin that hold containers for containerd.
const SHIM: &str = "containerd-shim";

/// What the processes of an instance carry.
pub(super) fn marks(node: NodeId, id: InstanceId) -> [String; 2] {
    [format!("{INSTANCE}={id}"), format!("{NODE}={node}")]
}

/// What a shim's container is to be: the part of the OCI runtime specification's `config.json` that we
/// read.
#[derive(Deserialize)]
struct Bundle {
    process: Started,
}

#[derive(Deserialize)]
struct Started {
    env: Vec<String>,
}

/// Instances of `node` of which anything runs, whatever Docker says. Reads all of `/proc`: some 20 ms of CPU
/// for a thousand processes.
#[must_use]
pub fn all(node: NodeId) -> BTreeSet<InstanceId> {
    let inits = inits(node).map(|(id, _)| id);
    inits.chain(shims(node).map(|(id, _)| id)).collect()
}

/// [`all`], on a thread that may take its time.
pub async fn look(node: NodeId) -> BTreeSet<InstanceId> {
    let looked = tokio::task::spawn_blocking(move || all(node)).await;
    looked.unwrap_or_default()
}

/// Kills what runs of `id`, and answers whether anything did: it may take a moment to be gone.
/// `pid` is its init's where that is known, which saves reading all of `/proc`, and all that is looked
/// for: who has one is not about to be started.
///
/// # Errors
/// When the kernel refuses.
pub(super) async fn end(node: NodeId, id: InstanceId, pid: Option<u32>) -> io::Result<bool> {
    let work = move || {
        let found: Vec<Process> = match pid {
            Some(pid) => process(pid)
                .filter(|init| whose(init, node) == Some(id))
                .into_iter()
                .flat_map(|init| [shim_of(&init), Some(init)])
                .flatten()
                .collect(),
            None => {
                let shims = shims(node).filter(|(of, _)| *of == id);
                let held = shims.flat_map(|(_, shim)| children(&shim).into_iter().chain([shim]));
                let inits = inits(node)
                    .filter(|(of, _)| *of == id)
                    .map(|(_, init)| init);
                held.chain(inits).collect()
            }
        };
        for process in &found {
            warn!(instance = %id, pid = process.pid, "it ran on without Docker and is killed");
            kill(process)?;
        }
        Ok(!found.is_empty())
    };
    tokio::task::spawn_blocking(work).await?
}

/// Inits of the containers of `node`.
fn inits(node: NodeId) -> impl Iterator<Item = (InstanceId, Process)> {
    let processes = all_processes().into_iter().flatten().flatten();
    processes.filter_map(move |process| {
        let status = process.status().ok()?;
        let ids = status.nspid?;
        (ids.len() > 1 && ids.last() == Some(&1)).then_some(())?;
        Some((whose(&process, node)?, process))
    })
}

fn process(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok().filter(|pid| *pid > 0)?).ok()
}

/// The instance of `node` that a process belongs to. One that is dead carries nothing.
fn whose(process: &Process, node: NodeId) -> Option<InstanceId> {
    let environ = process.environ().ok()?;
    let carried = |name: &str| environ.get(OsStr::new(name))?.to_str();
    (carried(NODE)? == node.to_string()).then_some(())?;
    carried(INSTANCE)?.parse().ok()
}

/// Shims of the containers of `node`, with or without an init below.
fn shims(node: NodeId) -> impl Iterator<Item = (InstanceId, Process)> {
    let processes = all_processes().into_iter().flatten().flatten();
    processes.filter(is_shim).filter_map(move |shim| {
        let bundle = fs::read(format!("/proc/{}/cwd/config.json", shim.pid)).ok()?;
        Some((meant(&bundle, node)?, shim))
    })
}

/// The instance of `node` that a bundle is for.
fn meant(bundle: &[u8], node: NodeId) -> Option<InstanceId> {
    let bundle: Bundle = serde_json::from_slice(bundle).ok()?;
    let set = |name: &str| {
        let mut pairs = bundle
            .process
            .env
            .iter()
            .filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(key, value)| (key == name).then_some(value))
    };
    (set(NODE)? == node.to_string()).then_some(())?;
    set(INSTANCE)?.parse().ok()
}

fn shim_of(init: &Process) -> Option<Process> {
    let parent = init.stat().ok()?.ppid;
    process(u32::try_from(parent).ok()?).filter(is_shim)
}

fn children(shim: &Process) -> Vec<Process> {
    let threads = shim.tasks().into_iter().flatten().flatten();
    let pids = threads
        .filter_map(|thread| thread.children().ok())
        .flatten();
    pids.filter_map(process).collect()
}

fn is_shim(process: &Process) -> bool {
    // The kernel keeps fifteen letters of a name.
    let stat = process.stat();
    stat.is_ok_and(|stat| stat.comm.starts_with(SHIM))
}

/// Kills a process: the very one that was looked at, by a handle that no later one can have.
fn kill(process: &Process) -> io::Result<()> {
    let pid = u32::try_from(process.pid).unwrap_or_default();
    let Ok(held) = netns::pidfd(pid) else {
        return Ok(());
    };
    // What can still be read of it is of the process that was looked at; it had this number at the open.
    if process.stat().is_err() {
        return Ok(());
    }
    match pidfd_send_signal(held.as_fd(), Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn marked(node: NodeId, id: InstanceId) -> Child {
        let mut command = Command::new("sleep");
        for mark in marks(node, id) {
            let (name, value) = mark.split_once('=').unwrap();
            command.env(name, value);
        }
        command.arg("60").spawn().unwrap()
    }

    #[tokio::test]
    async fn what_carries_the_marks_is_killed_and_nobody_else() {
        let node = NodeId::random();
        let (id, other) = (InstanceId::random(), InstanceId::random());
        let mut child = marked(node, id);
        let pid = Some(child.id());
        assert!(!end(node, other, pid).await.unwrap());
        assert!(!end(NodeId::random(), id, pid).await.unwrap());
        assert!(!end(node, id, Some(0)).await.unwrap());
        assert!(child.try_wait().unwrap().is_none());
        assert!(end(node, id, pid).await.unwrap());
        assert!(!child.wait().unwrap().success());
        assert!(!end(node, id, pid).await.unwrap());
    }

    #[tokio::test]
    async fn only_the_init_of_a_namespace_is_a_container() {
        let node = NodeId::random();
        let mut child = marked(node, InstanceId::random());
        assert_eq!(all(node), BTreeSet::new());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_bundle_says_whose_container_a_shim_holds() {
        let (node, id) = (NodeId::random(), InstanceId::random());
        let bundle = |env: &[String]| {
            let bundle = serde_json::json!({ "ociVersion": "1.0.2", "process": { "env": env } });
            serde_json::to_vec(&bundle).unwrap()
        };
        let ours = bundle(&marks(node, id));
        assert_eq!(meant(&ours, node), Some(id));
        assert_eq!(meant(&ours, NodeId::random()), None);
        assert_eq!(meant(&bundle(&["PATH=/bin".to_owned()]), node), None);
        assert_eq!(meant(b"{}", node), None);
    }
}
