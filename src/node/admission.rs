//! How much fits on this host: pure decisions on real resources.

use tracing::info;

use super::{Config, status::Memory};
use crate::{host::monitor::thread_limit, instance, runtime::cores};

/// What an idle session takes, with room for a page.
const SESSION_MEMORY: u64 = 320 << 20;
/// The host, Docker and this program.
const RESERVED_MEMORY: u64 = 1 << 30;
/// Of the host's threads, tenths.
const RESERVED_THREAD_TENTHS: u64 = 1;

/// What of the host is there to be promised.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    /// Bytes.
    pub(super) memory: u64,
    /// Thousandths of a core.
    pub(super) cpu_millis: u64,
    /// Threads that may exist.
    pub(super) threads: u64,
}

/// What one session is promised: the limits of its container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise {
    pub(super) memory: u64,
    pub(super) cpu_millis: u64,
    pub(super) pids: u64,
}

/// How many times over memory and cores may be promised; 0 for any number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overcommit {
    pub(super) memory: u64,
    pub(super) cpu: u64,
}

/// How many sessions fit, and what there is too little of for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capacity {
    pub(super) sessions: u32,
    pub(super) bound_by: &'static str,
}

/// How many sessions fit: the configured number, or as many as the scarcest resource allows. Memory
/// is counted as sessions use it and as they are promised it; cores only as promised; threads may
/// never be promised twice, because a host without any can start nothing at all.
#[must_use]
pub(super) fn capacity(
    configured: u32,
    machine: Machine,
    promise: Promise,
    overcommit: Overcommit,
) -> Capacity {
    if configured > 0 {
        return Capacity {
            sessions: configured,
            bound_by: "node.max_sessions",
        };
    }
    let used = machine.memory.saturating_sub(RESERVED_MEMORY) / SESSION_MEMORY;
    let threads = machine.threads - machine.threads / 10 * RESERVED_THREAD_TENTHS;
    let bounds = [
        ("memory", used),
        (
            "memory limits",
            promised(machine.memory, overcommit.memory, promise.memory),
        ),
        (
            "cpu limits",
            promised(machine.cpu_millis, overcommit.cpu, promise.cpu_millis),
        ),
        ("pids limits", threads / promise.pids.max(1)),
    ];
    let (bound_by, fit) = bounds
        .into_iter()
        .min_by_key(|(_, fit)| *fit)
        .unwrap_or(("nothing", u64::MAX));
    Capacity {
        sessions: u32::try_from(fit).unwrap_or(u32::MAX).max(1),
        bound_by,
    }
}

/// How many of a thing can be promised so many times over.
const fn promised(there: u64, times: u64, each: u64) -> u64 {
    match times {
        0 => u64::MAX,
        times => there.saturating_mul(times) / if each == 0 { 1 } else { each },
    }
}

/// How many devices of a kind the host bears. A guest has all the memory that it is given, used or not; its
/// cores are promised as a browser's are, and it gets no more than there are.
///
/// # Errors
/// A sentence, where there is not enough memory for one.
pub(super) fn guests(
    machine: Machine,
    (memory, cpu_millis): (u64, u64),
    cpu_overcommit: u64,
) -> Result<u32, String> {
    let there = machine.memory.saturating_sub(RESERVED_MEMORY);
    let fit = there / memory.max(1);
    if fit == 0 {
        return Err(format!(
            "its guest is given {} MiB of memory, and this host has {} MiB for sessions",
            memory >> 20,
            there >> 20
        ));
    }
    let each = cpu_millis.min(machine.cpu_millis);
    let cores = promised(machine.cpu_millis, cpu_overcommit, each);
    Ok(u32::try_from(fit.min(cores)).unwrap_or(u32::MAX))
}

/// How many sessions fit on the host that this runs on; says so in the log.
pub(super) fn of_this_host(config: &Config, instance: &instance::Config) -> u32 {
    let capacity = measured(config, instance);
    info!(
        sessions = capacity.sessions,
        bound_by = capacity.bound_by,
        "capacity of this host"
    );
    capacity.sessions
}

/// How many sessions fit on the host that this runs on.
pub(super) fn measured(config: &Config, instance: &instance::Config) -> Capacity {
    let promise = Promise {
        memory: instance.memory_bytes,
        cpu_millis: instance.cpu_millis.into(),
        pids: instance.pids.into(),
    };
    let overcommit = Overcommit {
        memory: config.memory_overcommit.into(),
        cpu: config.cpu_overcommit.into(),
    };
    capacity(config.max_sessions, Machine::now(), promise, overcommit)
}

impl Machine {
    /// The host that this runs on.
    pub(super) fn now() -> Self {
        Self {
            memory: Memory::now().total,
            cpu_millis: u64::try_from(cores()).unwrap_or(1) * 1_000,
            threads: thread_limit().unwrap_or(u64::MAX),
        }
    }
}

/// What takes room, in sessions' worth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Sessions that may live at once.
    pub(super) max: usize,
    /// Sessions that live.
    pub(super) live: usize,
    /// Instances that are being removed: memory comes back when a container is gone, not when its
    /// session ended.
    pub(super) leaving: usize,
    /// Instances that are parked, or started to be.
    pub(super) kept: usize,
    /// Instances that are being started: the memory that is available now is theirs first.
    pub(super) starting: usize,
    /// Memory that is available beyond the host's reserve; `None` where it is not measured.
    pub(super) spare_memory: Option<u64>,
}

impl Room {
    fn has_memory(self) -> bool {
        let promised = u64::try_from(self.starting).unwrap_or(u64::MAX);
        self.spare_memory
            .is_none_or(|spare| spare / SESSION_MEMORY > promised)
    }
}

/// Whether one more session may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    /// Once something that is parked is given up for it.
    IfOneGivesWay,
    No,
    /// There is a place for it, but no memory.
    NoMemory,
}

/// Decides. A session that `claims` a parked instance takes no room that is not taken already.
pub(super) fn admit(room: Room, claims: bool) -> Verdict {
    let Room {
        max,
        live,
        leaving,
        kept,
        ..
    } = room;
    if live >= max {
        Verdict::No
    } else if claims || (live + leaving + kept < max && room.has_memory()) {
        Verdict::Yes
    } else if live + leaving < max && kept > 0 {
        Verdict::IfOneGivesWay
    } else if live + leaving + kept < max {
        Verdict::NoMemory
    } else {
        Verdict::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn fit(machine: Machine, overcommit: (u64, u64)) -> (u32, &'static str) {
        let promise = Promise {
            memory: 2 * GIB,
            cpu_millis: 2_000,
            pids: 512,
        };
        let (memory, cpu) = overcommit;
        let capacity = capacity(0, machine, promise, Overcommit { memory, cpu });
        (capacity.sessions, capacity.bound_by)
    }

    #[test]
    fn capacity_is_what_the_scarcest_resource_allows_unless_it_is_given() {
        let machine = Machine {
            memory: 33 * GIB,
            cpu_millis: 8_000,
            threads: 1_000_000,
        };
        assert_eq!(fit(machine, (0, 0)), (102, "memory"));
        assert_eq!(fit(machine, (4, 0)), (66, "memory limits"));
        assert_eq!(fit(machine, (4, 5)), (20, "cpu limits"));
        let few = Machine {
            threads: 10_240,
            ..machine
        };
        assert_eq!(fit(few, (0, 0)), (18, "pids limits"));
        let small = Machine {
            memory: GIB / 2,
            ..machine
        };
        assert_eq!(fit(small, (0, 0)).0, 1, "a small host still tries");
        let promise = Promise {
            memory: GIB,
            cpu_millis: 1,
            pids: 1,
        };
        let overcommit = Overcommit { memory: 1, cpu: 1 };
        assert_eq!(capacity(7, small, promise, overcommit).sessions, 7);
    }

    #[test]
    fn a_host_bears_as_many_guests_as_its_memory_and_its_promised_cores_do() {
        let machine = Machine {
            memory: 25 * GIB,
            cpu_millis: 8_000,
            threads: 1_000_000,
        };
        let guest = (6 * GIB, 4_000);
        assert_eq!(guests(machine, guest, 64), Ok(4));
        assert_eq!(guests(machine, guest, 1), Ok(2));
        assert_eq!(guests(machine, guest, 0), Ok(4), "any number of cores");
        assert_eq!(guests(machine, (6 * GIB, 16_000), 1), Ok(1), "all cores");
        let small = Machine {
            memory: 5 * GIB,
            ..machine
        };
        let why = guests(small, guest, 64).unwrap_err();
        assert!(
            why.contains("6144 MiB") && why.contains("4096 MiB"),
            "{why}"
        );
    }

    #[test]
    fn what_is_available_belongs_first_to_those_who_are_being_started() {
        let room = |spare_sessions: u64, starting, kept| Room {
            max: 10,
            live: 3,
            leaving: 0,
            kept,
            starting,
            spare_memory: Some(spare_sessions * SESSION_MEMORY),
        };
        assert_eq!(admit(room(1, 0, 0), false), Verdict::Yes);
        assert_eq!(admit(room(1, 1, 0), false), Verdict::NoMemory);
        assert_eq!(admit(room(2, 1, 0), false), Verdict::Yes);
        assert_eq!(admit(room(0, 0, 0), false), Verdict::NoMemory);
        assert_eq!(admit(room(0, 0, 2), false), Verdict::IfOneGivesWay);
        assert_eq!(
            admit(room(0, 0, 2), true),
            Verdict::Yes,
            "it has its memory"
        );
    }

    #[test]
    fn what_is_parked_gives_way_and_never_stands_in_the_way() {
        let room = |live, leaving, kept| Room {
            max: 4,
            live,
            leaving,
            kept,
            starting: 0,
            spare_memory: None,
        };
        for (live, leaving, kept, claims, verdict) in [
            (0, 0, 0, false, Verdict::Yes),
            (3, 0, 0, false, Verdict::Yes),
            (4, 0, 0, false, Verdict::No),
            (2, 2, 0, false, Verdict::No),
            (2, 0, 2, false, Verdict::IfOneGivesWay),
            (0, 0, 4, false, Verdict::IfOneGivesWay),
            (2, 2, 1, false, Verdict::No),
            (2, 0, 1, true, Verdict::Yes),
            (2, 2, 0, true, Verdict::Yes),
            (4, 0, 0, true, Verdict::No),
        ] {
            let said = admit(room(live, leaving, kept), claims);
            assert_eq!(said, verdict, "{live} {leaving} {kept} {claims}");
        }
    }
}
