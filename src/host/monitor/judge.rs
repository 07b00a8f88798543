//! Facts against thresholds: pure, one function per condition.
//!
//! A level that stands is left only when the measure is a tenth better than the threshold that
//! brought it, so a measure that trembles on the threshold does not make the condition tremble.

use std::time::Duration;

use super::{Beat, Condition, Config, Facts, Level, Usage};

/// How long a step of the clock is shown.
const JUMP_SHOWN: Duration = Duration::from_secs(60);

/// What the facts say of one condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was measured.
    pub why: String,
}

impl Finding {
    fn well(why: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            why: why.into(),
        }
    }
}

/// Where a measure starts to be bad.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// The less, the worse.
    Below(u64, u64),
    /// The more, the worse.
    Above(u64, u64),
}

impl Scale {
    /// The level of `value` while `stands` does.
    fn level(self, value: u64, stands: Level) -> Level {
        let beyond = |threshold: u64, level: Level| {
            let margin = if stands >= level { threshold / 10 } else { 0 };
            match self {
                Self::Below(..) => value < threshold.saturating_add(margin),
                Self::Above(..) => value >= threshold.saturating_sub(margin).max(1),
            }
        };
        let (Self::Below(degraded, critical) | Self::Above(degraded, critical)) = self;
        if beyond(critical, Level::Critical) {
            Level::Critical
        } else if beyond(degraded, Level::Degraded) {
            Level::Degraded
        } else {
            Level::Ok
        }
    }
}

/// What the facts say of `condition`, which stands at `stands`. Pure. What could not be measured is
/// nothing to act on, and says so.
#[must_use]
pub fn judge(condition: Condition, facts: &Facts, config: &Config, stands: Level) -> Finding {
    let kernel = &facts.kernel;
    match condition {
        Condition::Docker => silence(
            "Docker",
            &facts.docker,
            (config.docker_degraded, config.docker_critical),
            stands,
        ),
        Condition::DockerEvents => silence(
            "the stream of Docker's events",
            &facts.docker_events,
            (config.docker_degraded, Duration::MAX),
            stands,
        ),
        Condition::Memory => memory(facts, config, stands),
        Condition::MemoryPressure => pressure(kernel.pressure_permille, config, stands),
        Condition::Disk => disk(facts, config, stands),
        Condition::Inodes => inodes(facts, config, stands),
        Condition::Descriptors => {
            let scale = free_percent(
                config.descriptors_degraded_percent,
                config.descriptors_critical_percent,
            );
            usage("file descriptors", &kernel.descriptors, scale, stands)
        }
        Condition::Pids => {
            let scale = free_percent(config.pids_degraded_percent, config.pids_critical_percent);
            usage("threads", kernel.threads.as_slice(), scale, stands)
        }
        Condition::Clock => clock(facts, config),
        Condition::Relay => silence(
            "the relay",
            &facts.relay,
            (config.relay_degraded, config.relay_critical),
            stands,
        ),
        Condition::Route => route(facts, config),
        Condition::Teardown => teardown(facts, config, stands),
    }
}

fn millis(of: Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}

/// Thresholds on what is free, in thousandths.
fn free_percent(degraded: u32, critical: u32) -> Scale {
    Scale::Below(u64::from(degraded) * 10, u64::from(critical) * 10)
}

fn permille(part: u64, whole: u64) -> u64 {
    let of = u128::from(part) * 1000 / u128::from(whole.max(1));
    u64::try_from(of).unwrap_or(u64::MAX)
}

fn tenths(permille: u64) -> String {
    format!("{}.{} %", permille / 10, permille % 10)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn silence(
    who: &str,
    beat: &Beat,
    (degraded, critical): (Duration, Duration),
    stands: Level,
) -> Finding {
    let level = Scale::Above(millis(degraded), millis(critical));
    if beat.silent_for.is_zero() {
        return Finding::well(format!("{who} answers"));
    }
    Finding {
        level: level.level(millis(beat.silent_for), stands),
        why: format!(
            "{who} has not answered for {:.1} s: {}",
            beat.silent_for.as_secs_f32(),
            beat.why
        ),
    }
}

fn memory(facts: &Facts, config: &Config, stands: Level) -> Finding {
    let Some(memory) = facts.kernel.memory.filter(|memory| memory.total > 0) else {
        return Finding::well("not measured: /proc/meminfo cannot be read");
    };
    let free = permille(memory.available, memory.total);
    let scale = free_percent(
        config.memory_degraded_percent,
        config.memory_critical_percent,
    );
    Finding {
        level: scale.level(free, stands),
        why: format!(
            "{} of {} are available, {}",
            mib(memory.available),
            mib(memory.total),
            tenths(free)
        ),
    }
}

fn pressure(permille: Option<u32>, config: &Config, stands: Level) -> Finding {
    let Some(stalled) = permille else {
        return Finding::well("not measured: this kernel has no /proc/pressure/memory");
    };
    let scale = Scale::Above(
        u64::from(config.pressure_degraded_percent) * 10,
        u64::from(config.pressure_critical_percent) * 10,
    );
    let stalled = u64::from(stalled);
    Finding {
        level: scale.level(stalled, stands),
        why: format!(
            "everything waited for memory {} of the last ten seconds",
            tenths(stalled)
        ),
    }
}

/// The worst of several findings; what came first among equals.
fn worst(findings: impl Iterator<Item = Finding>, none: &str) -> Finding {
    let worst = findings.reduce(|worst, next| {
        if next.level > worst.level {
            next
        } else {
            worst
        }
    });
    worst.unwrap_or_else(|| Finding::well(none))
}

fn disk(facts: &Facts, config: &Config, stands: Level) -> Finding {
    let scale = Scale::Below(config.disk_degraded_bytes, config.disk_critical_bytes);
    // The fullest says most while all are well.
    let mut filesystems: Vec<_> = facts.kernel.filesystems.iter().collect();
    filesystems.sort_by_key(|one| one.free_bytes);
    let each = filesystems.into_iter().map(|one| Finding {
        level: scale.level(one.free_bytes, stands),
        why: format!("{} free at {}", mib(one.free_bytes), one.path.display()),
    });
    worst(each, "not measured: no directory can be looked at")
}

fn inodes(facts: &Facts, config: &Config, stands: Level) -> Finding {
    let scale = free_percent(
        config.inodes_degraded_percent,
        config.inodes_critical_percent,
    );
    let counted = facts.kernel.filesystems.iter().filter(|f| f.inodes > 0);
    let each = counted.map(|one| {
        let free = permille(one.free_inodes, one.inodes);
        Finding {
            level: scale.level(free, stands),
            why: format!(
                "{} of {} inodes free at {}, {}",
                one.free_inodes,
                one.inodes,
                one.path.display(),
                tenths(free)
            ),
        }
    });
    worst(each, "not measured: no file system here counts inodes")
}

fn usage(what: &str, all: &[Usage], scale: Scale, stands: Level) -> Finding {
    let each = all.iter().map(|one| {
        let free = permille(one.limit.saturating_sub(one.used), one.limit);
        Finding {
            level: scale.level(free, stands),
            why: format!("{} of {} {what} of {} in use", one.used, one.limit, one.of),
        }
    });
    worst(each, "not measured: /proc does not say")
}

fn clock(facts: &Facts, config: &Config) -> Finding {
    let jump = facts.kernel.jump.filter(|jump| jump.ago < JUMP_SHOWN);
    let far = |millis: i64| Duration::from_millis(millis.unsigned_abs()) >= config.clock_jump;
    match jump.filter(|jump| far(jump.millis)) {
        Some(jump) => Finding {
            level: Level::Degraded,
            why: format!(
                "the wall clock jumped by {} ms; deadlines are not touched, times that are shown are",
                jump.millis
            ),
        },
        None => Finding::well("the wall clock goes with the boot clock"),
    }
}

fn route(facts: &Facts, config: &Config) -> Finding {
    let each = facts.lost_routes.iter().map(|lost| {
        let level = if lost.gone_for >= config.route_critical && lost.sessions > 0 {
            Level::Critical
        } else if lost.gone_for >= config.route_degraded {
            Level::Degraded
        } else {
            Level::Ok
        };
        Finding {
            level,
            why: format!(
                "egress route {} has been gone for {:.0} s, {} sessions leave by it",
                lost.route,
                lost.gone_for.as_secs_f32(),
                lost.sessions
            ),
        }
    });
    worst(each, "every egress route can be used")
}

fn teardown(facts: &Facts, config: &Config, stands: Level) -> Finding {
    let Some(stuck) = &facts.leaving else {
        return Finding::well("nothing is being removed");
    };
    let scale = Scale::Above(
        millis(config.teardown_degraded),
        millis(config.teardown_critical),
    );
    Finding {
        level: scale.level(millis(stuck.leaving_for), stands),
        why: format!(
            "{} has been leaving for {:.0} s, {} leave in all",
            stuck.name,
            stuck.leaving_for.as_secs_f32(),
            stuck.count
        ),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
