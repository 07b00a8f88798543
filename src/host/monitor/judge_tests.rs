use proptest::prelude::*;

use super::*;
use crate::host::monitor::{Filesystem, Jump, LostRoute, Memory, Monitor, Stuck};

const GIB: u64 = 1 << 30;

fn level(condition: Condition, facts: &Facts, stands: Level) -> Level {
    judge(condition, facts, &Config::default(), stands).level
}

fn beat(seconds: u64) -> Beat {
    Beat {
        silent_for: Duration::from_secs(seconds),
        why: "no answer within 2s".to_owned(),
    }
}

fn with_memory(available: u64) -> Facts {
    let mut facts = Facts::default();
    facts.kernel.memory = Some(Memory {
        available,
        total: 100 * GIB,
    });
    facts
}

fn with_disk(free_bytes: u64, free_inodes: u64) -> Facts {
    let mut facts = Facts::default();
    let roomy = Filesystem {
        path: "/roomy".into(),
        free_bytes: 100 * GIB,
        free_inodes: 1000,
        inodes: 1000,
    };
    let tight = Filesystem {
        path: "/tight".into(),
        free_bytes,
        free_inodes,
        inodes: 1000,
    };
    facts.kernel.filesystems = vec![roomy, tight];
    facts
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table, one line per row")]
fn each_condition_has_its_two_thresholds() {
    use Condition as C;
    use Level::{Critical, Degraded, Ok};
    let with = |change: &dyn Fn(&mut Facts)| {
        let mut facts = Facts::default();
        change(&mut facts);
        facts
    };
    let fds = |used| {
        with(&move |facts| {
            facts.kernel.descriptors = vec![Usage {
                of: "the host",
                used,
                limit: 1000,
            }];
        })
    };
    let threads = |used| {
        with(&move |facts| {
            facts.kernel.threads = Some(Usage {
                of: "the host",
                used,
                limit: 1000,
            });
        })
    };
    let psi = |permille| with(&move |facts| facts.kernel.pressure_permille = Some(permille));
    let lost = |seconds, sessions| {
        with(&move |facts| {
            facts.lost_routes = vec![LostRoute {
                route: "10.0.0.9".to_owned(),
                gone_for: Duration::from_secs(seconds),
                sessions,
            }];
        })
    };
    let leaving = |seconds| {
        with(&move |facts| {
            facts.leaving = Some(Stuck {
                name: "chaser-1".to_owned(),
                leaving_for: Duration::from_secs(seconds),
                count: 1,
            });
        })
    };
    let jumped = |millis, ago| {
        with(&move |facts| {
            let ago = Duration::from_secs(ago);
            facts.kernel.jump = Some(Jump { millis, ago });
        })
    };
    let docker = |seconds| with(&move |facts| facts.docker = beat(seconds));
    let events = |seconds| with(&move |facts| facts.docker_events = beat(seconds));
    let relay = |seconds| with(&move |facts| facts.relay = beat(seconds));
    let table = [
        (C::Docker, docker(4), Ok),
        (C::Docker, docker(5), Degraded),
        (C::Docker, docker(60), Critical),
        (C::DockerEvents, events(4), Ok),
        (C::DockerEvents, events(100_000), Degraded),
        (C::Memory, with_memory(10 * GIB), Ok),
        (C::Memory, with_memory(10 * GIB - GIB / 5), Degraded),
        (C::Memory, with_memory(3 * GIB), Critical),
        (C::MemoryPressure, psi(199), Ok),
        (C::MemoryPressure, psi(200), Degraded),
        (C::MemoryPressure, psi(600), Critical),
        (C::Disk, with_disk(GIB, 900), Ok),
        (C::Disk, with_disk(GIB - 1, 900), Degraded),
        (C::Disk, with_disk(100 << 20, 900), Critical),
        (C::Inodes, with_disk(GIB, 50), Ok),
        (C::Inodes, with_disk(GIB, 49), Degraded),
        (C::Inodes, with_disk(GIB, 9), Critical),
        (C::Descriptors, fds(850), Ok),
        (C::Descriptors, fds(851), Degraded),
        (C::Descriptors, fds(951), Critical),
        (C::Pids, threads(850), Ok),
        (C::Pids, threads(851), Degraded),
        (C::Pids, threads(951), Critical),
        (C::Clock, jumped(1_999, 0), Ok),
        (C::Clock, jumped(-3_600_000, 0), Degraded),
        (C::Clock, jumped(-3_600_000, 60), Ok),
        (C::Relay, relay(2), Ok),
        (C::Relay, relay(3), Degraded),
        (C::Relay, relay(10), Critical),
        (C::Route, lost(1, 1), Ok),
        (C::Route, lost(2, 1), Degraded),
        (C::Route, lost(30, 1), Critical),
        (C::Route, lost(30_000, 0), Degraded),
        (C::Teardown, leaving(29), Ok),
        (C::Teardown, leaving(30), Degraded),
        (C::Teardown, leaving(300), Critical),
    ];
    for (condition, facts, expected) in table {
        let found = judge(condition, &facts, &Config::default(), Ok);
        assert_eq!(found.level, expected, "{condition}: {}", found.why);
        assert!(!found.why.is_empty());
    }
}

#[test]
fn what_is_not_measured_is_nothing_to_act_on_and_says_so() {
    for condition in Condition::ALL {
        let found = judge(
            condition,
            &Facts::default(),
            &Config::default(),
            Level::Critical,
        );
        assert_eq!(found.level, Level::Ok, "{condition}");
        assert!(!found.why.is_empty(), "{condition}");
    }
}

#[test]
fn a_threshold_is_left_by_a_tenth() {
    let barely = with_memory(10 * GIB + GIB / 2);
    assert_eq!(level(Condition::Memory, &barely, Level::Ok), Level::Ok);
    let stands = level(Condition::Memory, &barely, Level::Degraded);
    assert_eq!(stands, Level::Degraded);
    let clearly = with_memory(11 * GIB);
    let stands = level(Condition::Memory, &clearly, Level::Degraded);
    assert_eq!(stands, Level::Ok);
}

#[test]
fn the_worst_file_system_speaks() {
    let found = judge(
        Condition::Disk,
        &with_disk(1 << 20, 900),
        &Config::default(),
        Level::Ok,
    );
    assert!(found.why.ends_with("1 MiB free at /tight"), "{}", found.why);
}

#[test]
fn the_monitor_tells_what_changed_and_since_when() {
    let start = time::OffsetDateTime::UNIX_EPOCH;
    let mut monitor = Monitor::new(Config::default(), start);
    let mut at = Duration::ZERO;
    let mut see = |facts: &Facts| {
        at += Duration::from_secs(1);
        let changed = monitor.observe(facts, at, start + at);
        let docker = monitor.standings().swap_remove(0);
        (changed, docker.level, docker.since.unix_timestamp())
    };
    let (well, away) = (Facts::default(), {
        Facts {
            docker: beat(7),
            ..Facts::default()
        }
    });
    assert_eq!(see(&well), (vec![], Level::Ok, 0));
    // A silence has lasted already when it is seen: no more patience is due.
    assert_eq!(see(&away), (vec![Condition::Docker], Level::Degraded, 2));
    for _ in 0..5 {
        assert_eq!(see(&well), (vec![], Level::Degraded, 2));
    }
    assert_eq!(see(&well), (vec![Condition::Docker], Level::Ok, 8));
}

proptest! {
    #[test]
    fn worse_measures_are_never_judged_better(
        a in 0..200 * GIB, b in 0..200 * GIB, stands in 0..3_usize,
    ) {
        let stands = [Level::Ok, Level::Degraded, Level::Critical][stands];
        let (less, more) = (a.min(b), a.max(b));
        let of = |bytes| level(Condition::Memory, &with_memory(bytes), stands);
        prop_assert!(of(less) >= of(more));
        let of = |bytes| level(Condition::Disk, &with_disk(bytes, 900), stands);
        prop_assert!(of(less) >= of(more));
    }

    #[test]
    fn a_level_that_stands_makes_no_measure_look_better(bytes in 0..20 * GIB) {
        let of = |stands| level(Condition::Memory, &with_memory(bytes), stands);
        prop_assert!(of(Level::Critical) >= of(Level::Degraded));
        prop_assert!(of(Level::Degraded) >= of(Level::Ok));
    }
}
