//! Containers whose processes run on without Docker: found by what they were started with.
//!
//! Docker may be wrong about a container: killed while it starts one, or with data that are lost, it
//! takes it for one that does not run, or knows it no more. Its processes carry instance and node in
//! their environment, so they are found without Docker and ended without it: the init, which takes
//! everything in its pid namespace along, and then the shim above it, which is nobody's any more.
//! A runtime that hides its processes from the host (`runsc`) hides them from this too.

use std::{collections::BTreeSet, ffi::OsStr, io, os::fd::AsFd};

use procfs::process::{Process, all_processes};
use rustix::process::{Signal, pidfd_send_signal};
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

/// Instances of `node` whose init runs, whatever Docker says. Reads all of `/proc`: some 20 ms of CPU
/// for a thousand processes.
#[must_use]
pub fn all(node: NodeId) -> BTreeSet<InstanceId> {
    inits(node).map(|(id, _)| id).collect()
}

/// [`all`], on a thread that may take its time.
pub async fn look(node: NodeId) -> BTreeSet<InstanceId> {
    let looked = tokio::task::spawn_blocking(move || all(node)).await;
    looked.unwrap_or_default()
}

/// Kills what runs of `id`, and answers whether anything did: it may take a moment to be gone.
/// `pid` is its init's where that is known, which saves reading all of `/proc`.
///
/// # Errors
/// When the kernel refuses.
pub(super) async fn end(node: NodeId, id: InstanceId, pid: Option<u32>) -> io::Result<bool> {
    let work = move || {
        let init = match pid {
            Some(pid) => process(pid).filter(|init| is(init, node, id)),
            None => inits(node).find_map(|(found, init)| (found == id).then_some(init)),
        };
        let Some(init) = init else {
            return Ok(false);
        };
        let shim = shim_of(&init);
        let killed = kill(&init, |init| is(init, node, id))?;
        warn!(instance = %id, pid = init.pid, "it ran on without Docker and is killed");
        if let Some(shim) = shim {
            kill(&shim, is_shim)?;
        }
        Ok(killed)
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

fn is(init: &Process, node: NodeId, id: InstanceId) -> bool {
    whose(init, node) == Some(id)
}

fn shim_of(init: &Process) -> Option<Process> {
    let parent = init.stat().ok()?.ppid;
    process(u32::try_from(parent).ok()?).filter(is_shim)
}

fn is_shim(process: &Process) -> bool {
    let stat = process.stat();
    // The kernel keeps fifteen letters of a name.
    stat.is_ok_and(|stat| stat.comm.starts_with(SHIM))
}

/// Kills a process that is still the one that was meant once it is held; answers whether it was.
fn kill(process: &Process, meant: impl Fn(&Process) -> bool) -> io::Result<bool> {
    let Ok(held) = netns::pidfd(u32::try_from(process.pid).unwrap_or_default()) else {
        return Ok(false);
    };
    if !meant(process) {
        return Ok(false);
    }
    match pidfd_send_signal(held.as_fd(), Signal::KILL) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
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
}
