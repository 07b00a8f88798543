//! `/proc`: who lives, what they hold.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

pub fn kill(pid: u32) {
    signal(pid, Signal::SIGKILL);
}

pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    // Gone already is as good.
    signal::kill(pid, signal).unwrap_or_default();
}

/// A process that still runs; one that only waits to be reaped does not.
pub fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim().starts_with('Z'))
}

pub fn command_line(pid: u32) -> String {
    fs::read(format!("/proc/{pid}/cmdline"))
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .unwrap_or_default()
}

/// Everything below a process.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut at = 0;
    while let Some(next) = found.get(at) {
        found.extend(children(*next));
        at += 1;
    }
    found
}

fn children(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .map(|child| child.parse().unwrap())
        .collect()
}

/// What every open descriptor of a process points at.
pub fn descriptors(pid: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect()
}

/// Sockets of a process that the network tables of this namespace do not know: those made in
/// another namespace, each of which keeps that namespace alive.
pub fn foreign_sockets(pid: u32) -> usize {
    let local: BTreeSet<String> = ["tcp", "tcp6", "udp", "udp6", "unix", "netlink", "raw"]
        .iter()
        .flat_map(|table| {
            let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    descriptors(pid)
        .iter()
        .filter_map(|target| target.strip_prefix("socket:[")?.strip_suffix(']'))
        .filter(|inode| !local.contains(*inode))
        .count()
}

/// Inits of the containers of a node, whether or not Docker knows them, by what they were started with.
pub fn inits_of(node: &str) -> Vec<u32> {
    let mark = format!("CHASER_NODE={node}");
    let carries = |pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ
            .split(|byte| *byte == 0)
            .any(|one| one == mark.as_bytes())
    };
    let is_init = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        ids.is_some_and(|ids| ids.split_whitespace().skip(1).last() == Some("1"))
    };
    all().filter(|pid| is_init(pid) && carries(pid)).collect()
}

/// A network namespace, held: the kernel gives the number of a namespace that is gone to the
/// next one, which may be that of the test beside this one.
pub struct Namespace(fs::File);

impl Namespace {
    /// The network namespace of a process.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self(fs::File::open(namespace_file(pid)).ok()?))
    }

    pub fn number(&self) -> u64 {
        self.0.metadata().unwrap().ino()
    }

    /// Whether any process is in it.
    pub fn is_inhabited(&self) -> bool {
        let is_in = |pid: &u32| {
            fs::metadata(namespace_file(*pid)).is_ok_and(|file| file.ino() == self.number())
        };
        all().filter(is_in).any(lives)
    }
}

fn namespace_file(pid: u32) -> String {
    format!("/proc/{pid}/ns/net")
}

/// Every process of this machine.
pub fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Every file, socket and pipe below a directory.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
