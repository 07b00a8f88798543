//! What the kernel has killed in a container because its memory ran out, and when.
//!
//! Docker's own flag says that *something* in a container was once killed for memory, and says so for
//! ever: a renderer that was killed an hour ago, which is its page's business, would be blamed for a
//! `docker kill` now. So the kernel's count is looked at while the container lives, and once more when
//! its browser has died: only a kill that came with the death is what it died of.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::host::cgroup::Group;

/// A browser whose process was killed is seen dead within this.
const RECENT: Duration = Duration::from_secs(3);

/// The kills in one container.
#[derive(Debug, Default)]
pub(super) struct Ooms {
    /// Held to read a small file, never across a wait.
    watched: Mutex<Option<Watched>>,
    /// Of all containers of the node.
    total: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Watched {
    group: Group,
    seen: Seen,
}

/// What was seen of the kernel's count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    kills: u64,
    /// When the last of them was seen; `None` where all were there at the first look.
    last: Option<Instant>,
}

/// What the kernel's count says about a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Toll {
    /// All kills that were seen.
    pub(super) kills: u64,
    /// Whether one of them came with the death.
    pub(super) fatal: bool,
}

impl Ooms {
    /// Nothing is looked at yet; what will be seen is added to `total`.
    pub(super) fn new(total: Arc<AtomicU64>) -> Self {
        Self {
            watched: Mutex::default(),
            total,
        }
    }

    /// What the container takes now: memory in bytes, CPU time since its start. `None` where nothing is
    /// looked at, or it is gone.
    pub(super) fn usage(&self) -> Option<(u64, Duration)> {
        let watched = self.watched.lock();
        let group = &watched.as_ref()?.group;
        let cpu = Duration::try_from_secs_f64(group.cpu_seconds().ok()?).ok()?;
        Some((group.memory().ok()?.charged, cpu))
    }

    /// From now on the container of this init is looked at. One whose group cannot be found is judged by
    /// Docker's flag alone.
    pub(super) fn begin(&self, init: u32) {
        let watched = Group::of(init).and_then(|group| {
            let kills = group.oom_kills()?;
            let seen = Seen { kills, last: None };
            Ok(Watched { group, seen })
        });
        match watched {
            Ok(watched) => *self.watched.lock() = Some(watched),
            Err(error) => {
                tracing::debug!(init, %error, "kills for memory are not counted");
            }
        }
    }

    /// Looks now; answers how many kills are new.
    pub(super) fn look(&self) -> u64 {
        self.look_at(Instant::now()).0
    }

    /// New kills, and whether the kernel still knew the group.
    fn look_at(&self, now: Instant) -> (u64, bool) {
        let mut watched = self.watched.lock();
        let Some(watched) = watched.as_mut() else {
            return (0, false);
        };
        let Ok(kills) = watched.group.oom_kills() else {
            return (0, false);
        };
        let grown = watched.seen.learn(kills, now);
        self.total.fetch_add(grown, Ordering::Relaxed);
        (grown, true)
    }

    /// What a container died of that has just died, by Docker's flag and by what was counted.
    pub(super) fn toll(&self, flag: bool) -> Toll {
        let now = Instant::now();
        let (_, current) = self.look_at(now);
        let seen = self.watched.lock().as_ref().map(|watched| watched.seen);
        let toll = judge(seen, current, flag, now);
        let uncounted = toll.kills - seen.map_or(0, |seen| seen.kills);
        self.total.fetch_add(uncounted, Ordering::Relaxed);
        toll
    }
}

impl Seen {
    /// Takes note of a count; answers how much it has grown.
    fn learn(&mut self, kills: u64, now: Instant) -> u64 {
        let grown = kills.saturating_sub(self.kills);
        if grown > 0 {
            self.last = Some(now);
        }
        self.kills = kills;
        grown
    }
}

/// Pure. `current` says that the count was read after the death.
fn judge(seen: Option<Seen>, current: bool, flag: bool, now: Instant) -> Toll {
    let Some(seen) = seen else {
        return Toll {
            kills: flag.into(),
            fatal: flag,
        };
    };
    let recent = seen.last.is_some_and(|last| now - last < RECENT);
    // The group went before it could be read again: Docker's flag is news only if nothing was known.
    let unseen = !current && flag && seen.kills == 0;
    Toll {
        kills: seen.kills + u64::from(unseen),
        fatal: recent || unseen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_kill_that_came_with_the_death_is_what_it_died_of() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut page = Seen::default();
        assert_eq!(page.learn(0, at(0)), 0);
        assert_eq!(page.learn(2, at(10)), 2);
        assert_eq!(page.learn(2, at(11)), 0);
        // Killed from outside an hour later: the flag still says memory.
        let toll = judge(Some(page), true, true, at(3600));
        assert_eq!((toll.kills, toll.fatal), (2, false));
        let toll = judge(Some(page), false, true, at(3600));
        assert!(!toll.fatal, "the count is gone, and the flag is old");
        // The browser went with them.
        assert!(judge(Some(page), true, true, at(11)).fatal);
        let mut browser = page;
        assert_eq!(browser.learn(3, at(3600)), 1);
        let toll = judge(Some(browser), true, true, at(3600));
        assert_eq!((toll.kills, toll.fatal), (3, true));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_could_count_is_what_docker_says() {
        let now = Instant::now();
        let none = Some(Seen::default());
        let fatal = |seen, current, flag| judge(seen, current, flag, now).fatal;
        assert!(fatal(None, false, true) && !fatal(None, false, false));
        assert!(fatal(none, false, true), "it came with the death");
        assert!(!fatal(none, false, false));
        assert!(!fatal(none, true, true), "the kernel says that it did not");
        // An earlier agent's kills, at the first look.
        let old = Some(Seen {
            kills: 4,
            last: None,
        });
        assert!(!fatal(old, true, true) && !fatal(old, false, true));
    }

    #[test]
    fn this_process_is_counted_and_one_that_is_not_there_is_not() {
        let ooms = Ooms::default();
        ooms.begin(std::process::id());
        assert_eq!(ooms.look(), 0);
        let nobody = Ooms::default();
        nobody.begin(u32::MAX);
        assert_eq!(nobody.look(), 0);
        assert!(nobody.toll(true).fatal);
    }
}
