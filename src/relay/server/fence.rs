//! The fence: egress is open until a moment that the agent moves, and shut afterwards.
//!
//! It is there for a host that its control plane has given up: by the time when somebody else may have
//! taken over, nothing leaves from here any more, whether or not an agent runs. Shut, connections of
//! pages are cut and new ones wait; CDP, clocks and counters go on. A later moment opens it again.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{model::BootInstant, runtime::boot_now};

/// No sleep is longer, so that a suspended host shuts soon after it wakes.
const LONGEST: Duration = Duration::from_millis(500);

/// Until when egress is open; no moment, no fence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Term(Option<BootInstant>);

impl Term {
    /// How much longer it is open; `None` when it is shut, or the moment is of another boot.
    fn left(self, now: BootInstant) -> Option<Duration> {
        match self.0 {
            None => Some(Duration::MAX),
            Some(until) => until.until(now).filter(|left| !left.is_zero()),
        }
    }
}

/// The fence of one relay.
#[derive(Debug)]
pub(super) struct Fence {
    /// Held to read or set it, never across a wait.
    term: Arc<Mutex<Term>>,
    open: watch::Sender<bool>,
    moved: watch::Sender<()>,
}

impl Default for Fence {
    fn default() -> Self {
        Self {
            term: Arc::default(),
            open: watch::Sender::new(true),
            moved: watch::Sender::new(()),
        }
    }
}

impl Fence {
    /// Moves the moment.
    pub(super) fn set(&self, until: BootInstant) {
        *self.term.lock() = Term(Some(until));
        self.look();
        self.moved.send_replace(());
    }

    /// Whether anything may leave, as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.open.subscribe()
    }

    /// Opens or shuts as the time says; answers when to look again.
    fn look(&self) -> Duration {
        let left = match boot_now() {
            Ok(now) => self.term.lock().left(now),
            Err(error) => {
                warn!(%error, "the clock cannot be read: the fence stays as it is");
                return LONGEST;
            }
        };
        let open = left.is_some();
        let changed = self.open.send_if_modified(|before| {
            let changed = *before != open;
            *before = open;
            changed
        });
        if changed && open {
            info!("egress is open again");
        } else if changed {
            warn!("the node's lease was not renewed: egress is suspended");
        }
        left.unwrap_or(LONGEST).min(LONGEST)
    }

    /// Keeps it true.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let mut moved = self.moved.subscribe();
        loop {
            moved.mark_unchanged();
            let fenced = self.term.lock().0.is_some();
            let pause = self.look();
            tokio::select! {
                () = tokio::time::sleep(pause), if fenced => {}
                _ = moved.changed() => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> BootInstant {
        BootInstant {
            boot: "5f0a2c3e-7d1b-4c8e-9f6a-0b1c2d3e4f50".parse().unwrap(),
            micros: secs * 1_000_000,
        }
    }

    #[test]
    fn without_a_moment_it_is_open_for_ever_and_with_one_until_then_only() {
        assert_eq!(Term(None).left(at(1)), Some(Duration::MAX));
        let term = Term(Some(at(100)));
        assert_eq!(term.left(at(40)), Some(Duration::from_secs(60)));
        assert_eq!(term.left(at(100)), None);
        assert_eq!(term.left(at(101)), None);
        let other = BootInstant {
            boot: "00000000-7d1b-4c8e-9f6a-0b1c2d3e4f50".parse().unwrap(),
            micros: u64::MAX,
        };
        assert_eq!(Term(Some(other)).left(at(1)), None);
    }

    #[tokio::test]
    async fn a_term_that_runs_out_shuts_it_and_a_later_one_opens_it_again() {
        let fence = Arc::new(Fence::default());
        let mut open = fence.watch();
        let tasks = crate::runtime::Tasks::default();
        let running = Arc::clone(&fence);
        tasks.spawn("fence", |stop| async move { running.run(stop).await });
        assert!(*open.borrow());
        let soon = boot_now().unwrap().after(Duration::from_millis(30));
        fence.set(soon);
        open.wait_for(|open| !open).await.unwrap();
        assert!(
            boot_now().unwrap().micros >= soon.micros,
            "not before its time"
        );
        fence.set(boot_now().unwrap().after(Duration::from_secs(60)));
        assert!(*open.borrow_and_update(), "at once");
        tasks.drain(Duration::from_secs(5)).await.unwrap();
    }
}
