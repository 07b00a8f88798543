//! Asking the kernel: `/proc`, `statvfs`, PSI. Looks only, judges nothing.

use std::{fs, path::PathBuf, time::Duration};

use nix::sys::{
    resource::{Resource, getrlimit},
    statvfs::statvfs,
};
use procfs::{Current, Meminfo, MemoryPressure};
use time::OffsetDateTime;

use super::{Filesystem, Jump, Kernel, Memory, Usage};

/// Smaller steps are the clock being disciplined.
const STEP: i64 = 250;

/// What looks at the kernel, and remembers where its clocks were.
#[derive(Debug)]
pub struct Sampler {
    paths: Vec<PathBuf>,
    /// How far the wall clock was ahead of the boot clock, milliseconds.
    ahead: Option<i64>,
    /// The last step, and when it was seen on the boot clock.
    step: Option<(i64, Duration)>,
}

impl Sampler {
    /// Looks at the file systems of these directories.
    #[must_use]
    pub const fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            ahead: None,
            step: None,
        }
    }

    /// One look. Blocks for as long as the kernel takes to answer a dozen small questions. `booted`
    /// is the time since boot, `wall` the same moment on the wall clock.
    pub fn look(&mut self, booted: Duration, wall: OffsetDateTime) -> Kernel {
        Kernel {
            memory: memory(),
            pressure_permille: pressure(),
            filesystems: self.paths.iter().filter_map(filesystem).collect(),
            descriptors: [own_descriptors(), all_descriptors()]
                .into_iter()
                .flatten()
                .collect(),
            threads: threads(),
            jump: self.clocks(booted, wall),
        }
    }

    fn clocks(&mut self, booted: Duration, wall: OffsetDateTime) -> Option<Jump> {
        let wall_millis = i64::try_from(wall.unix_timestamp_nanos() / 1_000_000).ok()?;
        let ahead = wall_millis - i64::try_from(booted.as_millis()).ok()?;
        let step = ahead - self.ahead.replace(ahead).unwrap_or(ahead);
        if step.abs() >= STEP {
            self.step = Some((step, booted));
        }
        self.step.map(|(millis, seen)| Jump {
            millis,
            ago: booted.saturating_sub(seen),
        })
    }
}

fn memory() -> Option<Memory> {
    let info = Meminfo::current().ok()?;
    Some(Memory {
        available: info.mem_available.unwrap_or(info.mem_free),
        total: info.mem_total,
    })
}

fn pressure() -> Option<u32> {
    let percent = MemoryPressure::current().ok()?.full.avg10;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what a share of time can be"
    )]
    let permille = (percent * 10.0).clamp(0.0, 1000.0) as u32;
    Some(permille)
}

fn filesystem(path: &PathBuf) -> Option<Filesystem> {
    let stat = statvfs(path).ok()?;
    Some(Filesystem {
        path: path.clone(),
        free_bytes: stat.blocks_available() * stat.fragment_size(),
        free_inodes: stat.files_available(),
        inodes: stat.files(),
    })
}

fn own_descriptors() -> Option<Usage> {
    let (limit, _hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(Usage {
        of: "this process",
        used: u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?,
        limit,
    })
}

fn all_descriptors() -> Option<Usage> {
    let text = fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    let numbers: Vec<u64> = numbers(&text).collect();
    let [used, free, limit] = numbers[..] else {
        return None;
    };
    Some(Usage {
        of: "the host",
        used: used.saturating_sub(free),
        limit,
    })
}

/// How many threads may exist on this host; `None` where the kernel does not say.
#[must_use]
pub fn thread_limit() -> Option<u64> {
    let limit = |path| numbers(&fs::read_to_string(path).ok()?).next();
    let all = limit("/proc/sys/kernel/threads-max")?;
    Some(all.min(limit("/proc/sys/kernel/pid_max")?))
}

fn threads() -> Option<Usage> {
    // `0.20 0.18 0.12 1/80 11206`: the fourth is running/all.
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let (_, all) = load.split_whitespace().nth(3)?.split_once('/')?;
    Some(Usage {
        of: "the host",
        used: all.parse().ok()?,
        limit: thread_limit()?,
    })
}

fn numbers(text: &str) -> impl Iterator<Item = u64> {
    text.split_whitespace().filter_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_says_everything_that_is_asked() {
        let mut sampler = Sampler::new(vec![PathBuf::from("/"), PathBuf::from("/no/such/place")]);
        let seen = sampler.look(Duration::from_secs(9), OffsetDateTime::UNIX_EPOCH);
        let memory = seen.memory.unwrap();
        assert!(memory.available > 0 && memory.available <= memory.total);
        assert_eq!(seen.filesystems.len(), 1);
        assert!(seen.filesystems[0].free_bytes > 0);
        let of: Vec<_> = seen.descriptors.iter().map(|usage| usage.of).collect();
        assert_eq!(of, ["this process", "the host"]);
        for usage in seen.descriptors.iter().chain(&seen.threads) {
            assert!(usage.used > 0 && usage.used < usage.limit, "{usage:?}");
        }
        assert!(seen.threads.is_some());
        assert_eq!(
            seen.pressure_permille.is_some(),
            fs::exists("/proc/pressure/memory").unwrap()
        );
    }

    #[test]
    fn a_step_of_the_wall_clock_is_seen_and_drift_is_not() {
        let mut sampler = Sampler::new(Vec::new());
        let mut look = |booted: u64, wall_millis: i64| {
            let wall =
                OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(1_000_000 + wall_millis);
            sampler.clocks(Duration::from_secs(booted), wall)
        };
        assert_eq!(look(100, 0), None);
        assert_eq!(look(101, 1_040), None, "disciplined");
        let jump = look(102, 2_040 - 3_600_000).unwrap();
        assert_eq!((jump.millis, jump.ago), (-3_600_000, Duration::ZERO));
        let later = look(112, 12_040 - 3_600_000).unwrap();
        assert_eq!(later.ago, Duration::from_secs(10));
        // A suspended machine wakes with both clocks ahead.
        assert_eq!(
            look(5_112, 5_012_040 - 3_600_000).unwrap().millis,
            -3_600_000
        );
    }
}
