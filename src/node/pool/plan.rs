//! How many parked instances there should be, and what to start now: pure.
//!
//! Depth is what the configuration asks for; where orders come so fast that more of them arrive while
//! one slot is replaced, it follows them up to `pool.warm_max`. Starting yields to everybody: to orders
//! that are being carried out, to clients whose browser was just handed to them (the start of another
//! costs a core for most of a second, which is when they load their first page), to a node that is not
//! ready, to admission (what is parked takes room that a session could have, so it never takes the last
//! of it twice), and to its own failures. Devices boot one at a time, so that orders find the other place
//! among the boots free, and only where the host has all that their guests take ([`super::fit`]).

use std::time::Duration;

use tokio::time::Instant;

/// Demand is averaged over about this long.
const MEMORY: Duration = Duration::from_secs(30);
/// Orders that keep coming hold refills back for so many pauses, and no longer.
const LONGEST: u32 = 4;
/// How much more than the average is kept: orders come in bunches.
const MARGIN: f64 = 1.5;
/// The pause after a failed start, doubled with each more up to the last.
const FIRST_REST: Duration = Duration::from_secs(1);
const LAST_REST: Duration = Duration::from_secs(60);

/// How often a profile is ordered: a count that fades.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Demand {
    count: f64,
    at_micros: u64,
}

impl Demand {
    /// One more order.
    pub(super) fn order(&mut self, now_micros: u64) {
        self.count = self.faded(now_micros) + 1.0;
        self.at_micros = now_micros;
    }

    /// Orders per second.
    pub(super) fn rate(&self, now_micros: u64) -> f64 {
        self.faded(now_micros) / MEMORY.as_secs_f64()
    }

    fn faded(&self, now_micros: u64) -> f64 {
        let passed = Duration::from_micros(now_micros.saturating_sub(self.at_micros));
        self.count * (-passed.as_secs_f64() / MEMORY.as_secs_f64()).exp()
    }
}

/// The orders since all that should stand there stood there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    first: Instant,
    last: Instant,
    /// How many came within a pause of one another, the last of them included.
    beside: u32,
    missed: bool,
}

impl Taken {
    /// One more, which found something or not.
    pub(super) fn order(before: Option<Self>, hit: bool, now: Instant, pause: Duration) -> Self {
        let close = before.filter(|taken| now < taken.last + pause);
        Self {
            first: before.map_or(now, |taken| taken.first),
            last: now,
            beside: close.map_or(0, |taken| taken.beside) + 1,
            missed: !hit || before.is_some_and(|taken| taken.missed),
        }
    }

    /// When to begin to refill: a pause after the last order, and as many times that as pages have to
    /// share a core; some pauses after the first, and at once when an order found nothing.
    pub(super) fn refill_at(self, pause: Duration, cores: u32) -> Instant {
        if self.missed {
            return self.first;
        }
        let shared = self.beside.div_ceil(cores.max(1)).min(LONGEST);
        (self.last + pause * shared).min(self.first + pause * LONGEST)
    }
}

/// How many to keep of one profile, when orders come at `rate` per second and one takes `refill` to
/// replace.
pub(super) fn target(warm: u32, most: u32, rate: f64, refill: Duration) -> u32 {
    if warm == 0 {
        return 0;
    }
    let mut wanted = warm;
    while wanted < most && f64::from(wanted) < rate * refill.as_secs_f64() * MARGIN {
        wanted += 1;
    }
    wanted
}

/// How long to rest after so many failed starts in a row.
pub(super) fn rest(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    FIRST_REST.saturating_mul(doubled).min(LAST_REST)
}

/// The host as the planner sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Sessions that may live at once.
    pub(super) max: usize,
    /// Sessions that live.
    pub(super) live: usize,
    /// Instances that are being removed.
    pub(super) leaving: usize,
    /// Nothing speaks against starting: the node is ready and admits sessions, no order is under way,
    /// no rest is due, no client was handed one a moment ago.
    pub(super) quiet: bool,
    /// Starts that may still begin beside those under way.
    pub(super) starts: usize,
    /// Boots of devices that may.
    pub(super) boots: usize,
}

/// One kind: what there is (parked and starting) and what there should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    pub(super) depth: usize,
    pub(super) target: u32,
    /// How many more may be started now.
    pub(super) may: usize,
    /// Whether one of them is a device, which boots.
    pub(super) boots: bool,
}

/// Which of `wants` to start one of, in this order; the emptiest first.
pub(super) fn starts(room: Room, wants: &[Want]) -> Vec<usize> {
    let mut chosen = Vec::new();
    if !room.quiet {
        return chosen;
    }
    let mut depths: Vec<usize> = wants.iter().map(|want| want.depth).collect();
    let mut boots = room.boots;
    while chosen.len() < room.starts {
        if room.live + room.leaving + depths.iter().sum::<usize>() >= room.max {
            break;
        }
        let lacking = |at: &usize| {
            let (want, depth) = (wants[*at], depths[*at]);
            let begun = depth - want.depth;
            depth < want.target as usize && begun < want.may && (boots > 0 || !want.boots)
        };
        let emptiest = (0..wants.len())
            .filter(lacking)
            .min_by_key(|at| depths[*at]);
        let Some(at) = emptiest else { break };
        depths[at] += 1;
        boots -= usize::from(wants[at].boots);
        chosen.push(at);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000;

    const ROOM: Room = Room {
        max: 10,
        live: 0,
        leaving: 0,
        quiet: true,
        starts: 2,
        boots: 1,
    };

    fn want(depth: usize, target: u32) -> Want {
        Want {
            depth,
            target,
            may: usize::MAX,
            boots: false,
        }
    }

    #[test]
    fn demand_rises_with_orders_and_fades() {
        let mut demand = Demand::default();
        for second in 0..300 {
            demand.order(second * SECOND);
        }
        let steady = demand.rate(299 * SECOND);
        assert!((0.9..1.1).contains(&steady), "one a second: {steady}");
        assert!(demand.rate(599 * SECOND) < 0.001);
    }

    #[test]
    fn depth_follows_demand_within_its_bounds() {
        let refill = Duration::from_secs(2);
        assert_eq!(target(3, 8, 0.0, refill), 3);
        assert_eq!(
            target(3, 8, 2.0, refill),
            6,
            "two a second for two seconds, and half more"
        );
        assert_eq!(target(3, 8, 100.0, refill), 8);
        assert_eq!(target(3, 0, 100.0, refill), 3, "no more than warm");
        assert_eq!(target(0, 8, 100.0, refill), 0, "no pool");
    }

    #[test]
    fn refills_let_clients_begin_but_not_orders_go_without() {
        let (start, pause) = (Instant::now(), Duration::from_millis(500));
        let at = |millis| start + Duration::from_millis(millis);
        let order = |before, hit, now| Taken::order(before, hit, now, pause);
        let one = order(None, true, start);
        assert_eq!(one.refill_at(pause, 2), at(500));
        let two = order(Some(one), true, at(300));
        assert_eq!(two.refill_at(pause, 2), at(800), "after the last");
        let later = order(Some(two), true, at(1_200));
        assert_eq!(later.refill_at(pause, 1), at(1_700), "nobody beside it");
        let on_and_on = order(Some(two), true, at(1_900));
        assert_eq!(on_and_on.refill_at(pause, 2), at(2_000), "but not for ever");
        let missed = order(Some(two), false, at(400));
        assert!(missed.refill_at(pause, 2) <= at(400), "at once");
        let then = order(Some(missed), true, at(450));
        assert!(then.refill_at(pause, 2) <= at(450), "until all is refilled");
        assert_eq!(one.refill_at(Duration::ZERO, 2), start, "no pause");
    }

    #[test]
    fn pages_that_share_a_core_are_given_longer() {
        let (start, pause) = (Instant::now(), Duration::from_millis(500));
        let at = |millis| start + Duration::from_millis(millis);
        let all = |count: u64| {
            let order = |before, n| Some(Taken::order(before, true, at(n), pause));
            (0..count).fold(None, order).unwrap()
        };
        assert_eq!(all(2).refill_at(pause, 2), at(501));
        assert_eq!(all(6).refill_at(pause, 2), at(1_505));
        assert_eq!(all(10).refill_at(pause, 2), at(2_000), "the longest");
        assert_eq!(all(10).refill_at(pause, 16), at(509));
        assert_eq!(
            all(10).refill_at(pause, 0),
            at(2_000),
            "a count that is unknown is one"
        );
    }

    #[test]
    fn failures_are_met_with_ever_longer_rests() {
        assert_eq!(
            [1, 2, 3, 99].map(rest).map(|rest| rest.as_secs()),
            [1, 2, 4, 60]
        );
    }

    #[test]
    fn the_emptiest_is_filled_first_and_nothing_starts_unless_all_is_quiet() {
        let wants = [want(1, 2), want(0, 2), want(2, 2)];
        assert_eq!(starts(ROOM, &wants), [1, 0]);
        let busy = Room {
            quiet: false,
            ..ROOM
        };
        assert!(starts(busy, &wants).is_empty());
    }

    #[test]
    fn devices_boot_one_at_a_time_and_only_where_the_host_bears_them() {
        let device = Want {
            boots: true,
            ..want(0, 2)
        };
        assert_eq!(starts(ROOM, &[device]), [0]);
        assert_eq!(starts(ROOM, &[device, device]), [0]);
        assert_eq!(starts(ROOM, &[device, want(0, 1)]), [0, 1]);
        let booting = Room { boots: 0, ..ROOM };
        assert_eq!(starts(booting, &[device, want(0, 1)]), [1]);
        let unfit = Want { may: 0, ..device };
        assert!(starts(ROOM, &[unfit]).is_empty());
    }

    proptest! {
        #[test]
        fn no_more_than_fits_is_wanted_or_may_start_is_ever_started(
            max in 1..20_usize, live in 0..20_usize, leaving in 0..5_usize, may in 0..5_usize,
            wants in prop::collection::vec((0..6_usize, 0..6_u32, 0..3_usize, any::<bool>()), 0..4),
        ) {
            let wants: Vec<_> = wants
                .into_iter()
                .map(|(depth, target, may, boots)| Want { depth, target, may, boots })
                .collect();
            let room = Room { max, live, leaving, quiet: true, starts: may, boots: 1 };
            let chosen = starts(room, &wants);
            prop_assert!(chosen.len() <= may);
            prop_assert!(chosen.iter().filter(|at| wants[**at].boots).count() <= 1);
            let held: usize = wants.iter().map(|want| want.depth).sum();
            prop_assert!(chosen.is_empty() || live + leaving + held + chosen.len() <= max);
            for (at, want) in wants.iter().enumerate() {
                let more = chosen.iter().filter(|chosen| **chosen == at).count();
                prop_assert!(more == 0 || want.depth + more <= want.target as usize);
                prop_assert!(more <= want.may);
            }
        }
    }
}
