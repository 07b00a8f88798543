//! What a container takes, as the kernel counts it: version 1 and 2 of control groups.

use std::{fs, io, path::PathBuf};

const MOUNT: &str = "/sys/fs/cgroup";
const NANOS: f64 = 1e9;

/// The groups of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    memory: PathBuf,
    cpu: PathBuf,
    unified: bool,
}

/// Memory of all processes of a group, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All that is charged: with the page cache, its tmpfs, and kernel memory.
    pub charged: u64,
    /// What processes have of their own.
    pub anonymous: u64,
}

impl Group {
    /// The groups of `pid`.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        Self::parse(&text).ok_or_else(|| strange(&format!("no memory group of process {pid}")))
    }

    fn parse(text: &str) -> Option<Self> {
        let path = |wanted: &str| {
            text.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':');
                let controllers = parts.nth(1)?;
                let path = parts.next()?.trim_start_matches('/');
                controllers
                    .split(',')
                    .any(|name| name == wanted)
                    .then(|| path.to_owned())
            })
        };
        if let (Some(memory), Some(cpu)) = (path("memory"), path("cpuacct")) {
            return Some(Self {
                memory: PathBuf::from(MOUNT).join("memory").join(memory),
                cpu: PathBuf::from(MOUNT).join("cpuacct").join(cpu),
                unified: false,
            });
        }
        let unified = PathBuf::from(MOUNT).join(path("")?);
        Some(Self {
            memory: unified.clone(),
            cpu: unified,
            unified: true,
        })
    }

    /// What is used now.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn memory(&self) -> io::Result<Memory> {
        let (charged, anonymous) = if self.unified {
            ("memory.current", "anon")
        } else {
            ("memory.usage_in_bytes", "total_rss")
        };
        let stat = fs::read_to_string(self.memory.join("memory.stat"))?;
        Ok(Memory {
            charged: number(&fs::read_to_string(self.memory.join(charged))?)?,
            anonymous: field(&stat, anonymous)?,
        })
    }

    /// How many of its processes the kernel has killed because its memory ran out, since its beginning.
    ///
    /// # Errors
    /// When the group is gone, or its kernel is older than such a count.
    pub fn oom_kills(&self) -> io::Result<u64> {
        let file = if self.unified {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        field(&fs::read_to_string(self.memory.join(file))?, "oom_kill")
    }

    /// Seconds of CPU since its beginning.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        let nanos = if self.unified {
            let stat = fs::read_to_string(self.cpu.join("cpu.stat"))?;
            field(&stat, "usage_usec")? * 1000
        } else {
            number(&fs::read_to_string(self.cpu.join("cpuacct.usage"))?)?
        };
        Ok(real(nanos) / NANOS)
    }
}

fn field(stat: &str, name: &str) -> io::Result<u64> {
    let value = stat.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then_some(value)
    });
    number(value.ok_or_else(|| strange(&format!("the kernel does not tell `{name}`")))?)
}

fn number(text: &str) -> io::Result<u64> {
    let text = text.trim();
    text.parse()
        .map_err(|_other| strange(&format!("`{text}` is no number")))
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// A number of bytes or nanoseconds to calculate with.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub const fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found() {
        let v1 = "9:name=systemd:/\n5:cpu,cpuacct:/docker/a\n2:memory:/docker/a\n0::/\n";
        let group = Group::parse(v1).unwrap();
        assert_eq!(
            group.memory.to_str(),
            Some("/sys/fs/cgroup/memory/docker/a")
        );
        assert_eq!(group.cpu.to_str(), Some("/sys/fs/cgroup/cpuacct/docker/a"));
        let group = Group::parse("0::/system.slice/docker-a.scope\n").unwrap();
        assert!(group.unified);
        assert_eq!(
            group.cpu.to_str(),
            Some("/sys/fs/cgroup/system.slice/docker-a.scope")
        );
        assert_eq!(Group::parse("3:pids:/\n"), None);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let stat = "inactive_anon 5\nanon 7\n";
        assert_eq!(field(stat, "anon").unwrap(), 7);
        field(stat, "file").unwrap_err();
        let events = "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(field(events, "oom_kill").unwrap(), 2);
        let control = "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n";
        assert_eq!(field(control, "oom_kill").unwrap(), 4);
    }

    #[test]
    fn this_process_has_used_something() {
        let group = Group::of(std::process::id()).unwrap();
        assert!(group.memory().unwrap().charged > 0);
        assert!(group.cpu_seconds().unwrap() > 0.0);
    }
}
