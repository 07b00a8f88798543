//! Directories and ports that nobody else has, for a daemon of the bench's own.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
};

use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MntFlags, MsFlags, mount, umount2},
};

use super::progress;

const PREFIX: &str = "chaser-bench-";
/// Below the base: the node's id.
const NODE: &str = "node";
/// One write of what fills a disk.
const CHUNK: usize = 64 << 10;

/// Its directories: state that must be durable, and sockets that should be in memory.
#[derive(Debug)]
pub(super) struct Places {
    /// Its log is here, and `state` below.
    base: PathBuf,
    pub(super) state: PathBuf,
    pub(super) runtime: PathBuf,
}

/// Where directories of a bench can be: what must be durable, and what should be in memory.
fn roots() -> [PathBuf; 2] {
    let temporary = std::env::temp_dir();
    let memory = Path::new("/run");
    let runtime = if memory.is_dir() {
        memory.to_owned()
    } else {
        temporary.clone()
    };
    [temporary, runtime]
}

impl Places {
    fn named(name: &str) -> Self {
        let [durable, memory] = roots();
        let base = durable.join(name);
        Self {
            state: base.join("state"),
            base,
            runtime: memory.join(name),
        }
    }

    /// Fresh ones. With `disk` the state is on a file system of so many MiB of its own, in memory.
    pub(super) fn make(disk: Option<u32>) -> io::Result<Self> {
        let own = format!("{PREFIX}{}-{:08x}", process::id(), rand::random::<u32>());
        let places = Self::named(&own);
        let mut made = fs::DirBuilder::new();
        made.mode(0o700).recursive(true).create(&places.state)?;
        if let Some(mib) = disk {
            let size = format!("size={mib}m,mode=700");
            let (source, kind) = (Some("chaser-bench"), Some("tmpfs"));
            let flags = MsFlags::empty();
            mount(source, &places.state, kind, flags, Some(size.as_str()))?;
        }
        Ok(places)
    }

    /// Notes whose they are, where it outlives a state that is in memory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn note_node(&self, node: &str) -> io::Result<()> {
        fs::write(self.base.join(NODE), node)
    }

    /// Whose they are, as was noted.
    pub(super) fn node(&self) -> Option<String> {
        fs::read_to_string(self.base.join(NODE)).ok()
    }

    /// The processes that were started for them: their command lines name them.
    pub(super) fn processes(&self) -> impl Iterator<Item = i32> {
        let at = self.runtime.to_string_lossy().into_owned();
        let all = procfs::process::all_processes().into_iter().flatten();
        all.flatten()
            .filter(move |one| one.cmdline().is_ok_and(|words| words.contains(&at)))
            .map(|one| one.pid)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.base.join("up.log")
    }

    /// The last line of its log.
    pub(super) fn last_words(&self) -> String {
        let said = fs::read_to_string(self.log()).unwrap_or_default();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        let last = last.unwrap_or("it said nothing");
        last.trim_start_matches("chaser: ").to_owned()
    }

    /// The end of its log, so many lines.
    pub(super) fn log_tail(&self, lines: usize) -> String {
        let said = fs::read_to_string(self.log()).unwrap_or_default();
        let all: Vec<_> = said.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Writes where the state is until nothing more goes there; how many bytes went.
    ///
    /// # Errors
    /// Whatever else is wrong than a full disk.
    pub(super) fn fill(&self) -> io::Result<u64> {
        let mut file = File::create(self.filling())?;
        let chunk = vec![1; CHUNK];
        let mut written = 0;
        loop {
            match file.write_all(&chunk) {
                Ok(()) => written += CHUNK as u64,
                Err(full) if full.kind() == io::ErrorKind::StorageFull => return Ok(written),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what [`Places::fill`] wrote away again.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn empty(&self) -> io::Result<()> {
        fs::remove_file(self.filling())
    }

    fn filling(&self) -> PathBuf {
        self.state.join("filling")
    }

    pub(super) fn remove(&self) {
        for place in [&self.base, &self.runtime] {
            remove(place);
        }
    }
}

/// What benches left that were killed with `kill -9`, once the daemon, which ends with its bench, has
/// ended too, in order or not.
pub(super) fn left() -> Vec<Places> {
    let entries = roots().map(fs::read_dir).into_iter().flatten().flatten();
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let left = |name: &String| owner(name).is_some_and(is_dead) && !is_held(name);
    let names: BTreeSet<_> = names.filter(left).collect();
    names.iter().map(|name| Places::named(name)).collect()
}

/// The bench that made a directory of this name.
fn owner(name: &str) -> Option<i32> {
    let (pid, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    pid.parse().ok()
}

fn is_dead(pid: i32) -> bool {
    procfs::process::Process::new(pid).is_err()
}

/// Whether a daemon holds the state of this name.
fn is_held(name: &str) -> bool {
    let [durable, _] = roots();
    let lock = durable.join(name).join("state").join("lock");
    let Ok(lock) = File::open(lock) else {
        return false;
    };
    Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_err()
}

fn remove(place: &Path) {
    // Absence is success: most are on no file system of their own.
    while umount2(&place.join("state"), MntFlags::MNT_DETACH).is_ok() {}
    if let Err(error) = fs::remove_dir_all(place)
        && error.kind() != io::ErrorKind::NotFound
    {
        progress(format_args!(
            "{} cannot be removed: {error}",
            place.display()
        ));
    }
}

/// Ports that were free a moment ago, on loopback.
pub(super) fn free_ports() -> io::Result<[SocketAddr; 3]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held = [bind()?, bind()?, bind()?];
    Ok([
        held[0].local_addr()?,
        held[1].local_addr()?,
        held[2].local_addr()?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ports_are_three() {
        let [a, b, c] = free_ports().unwrap();
        assert!(a != b && b != c && a != c);
    }

    #[test]
    fn only_directories_of_a_bench_have_an_owner() {
        assert_eq!(owner("chaser-bench-12-0a"), Some(12));
        assert_eq!(owner("chaser-bench-docker"), None);
        assert_eq!(owner("chaser-12-0a"), None);
        assert!(!is_dead(process::id().cast_signed()));
        assert!(is_dead(i32::MAX));
    }
}
