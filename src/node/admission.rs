//! How much fits on this host: pure decisions.

/// What an idle session takes, with room for a page.
const SESSION_MEMORY: u64 = 320 << 20;
/// The host, Docker and this program.
const RESERVED_MEMORY: u64 = 1 << 30;

/// How many sessions fit: the configured number, or as many as the host's memory holds.
#[must_use]
pub(super) fn capacity(configured: u32, memory_total: u64) -> u32 {
    if configured > 0 {
        return configured;
    }
    let fit = memory_total.saturating_sub(RESERVED_MEMORY) / SESSION_MEMORY;
    u32::try_from(fit).unwrap_or(u32::MAX).max(1)
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
}

/// Whether one more session may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    /// Once something that is parked is given up for it.
    IfOneGivesWay,
    No,
}

/// Decides. A session that `claims` a parked instance takes no room that is not taken already.
pub(super) const fn admit(room: Room, claims: bool) -> Verdict {
    let Room {
        max,
        live,
        leaving,
        kept,
    } = room;
    if live >= max {
        Verdict::No
    } else if claims || live + leaving + kept < max {
        Verdict::Yes
    } else if live + leaving < max && kept > 0 {
        Verdict::IfOneGivesWay
    } else {
        Verdict::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_follows_memory_unless_it_is_given() {
        assert_eq!(capacity(7, 1 << 30), 7);
        assert_eq!(capacity(0, 512 << 20), 1, "a small host still tries");
        assert_eq!(capacity(0, (1 << 30) + 10 * (320 << 20)), 10);
    }

    #[test]
    fn what_is_parked_gives_way_and_never_stands_in_the_way() {
        let room = |live, leaving, kept| Room {
            max: 4,
            live,
            leaving,
            kept,
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
