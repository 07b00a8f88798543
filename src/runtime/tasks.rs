//! Tasks and their shutdown. Every task of the program is spawned here: it has an owner, a token that
//! asks it to stop and, but for those on a path of bytes, a name in the log.

use std::{future::Future, time::Duration};

use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, error_span};

/// Spawns named tasks and stops them together. Clones share the same group.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// The grace period ran out with tasks still running.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} tasks still running after the grace period")]
pub struct Stuck(pub usize);

impl Tasks {
    /// A group of its own that also stops when this one does.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: self.stop.child_token(),
        }
    }

    /// Runs `task` until it returns; it must return soon after its token is cancelled.
    pub fn spawn<F, Fut>(&self, name: &'static str, task: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let work = task(self.stop.child_token());
        let work = work.instrument(error_span!(parent: None, "task", name));
        drop(self.tracker.spawn(work));
    }

    /// The same for work of which there is much, each turn of it brief, on a path of bytes. It has no span:
    /// that is entered and left with every poll. And it is given the group's own token, which is not its to
    /// cancel, instead of one that is made and unmade under the group's lock.
    pub fn spawn_bare<F, Fut>(&self, task: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.spawn_bare_on(&Handle::current(), task);
    }

    /// The same, in another runtime than the one that calls.
    pub fn spawn_bare_on<F, Fut>(&self, runtime: &Handle, task: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        drop(self.tracker.spawn_on(task(self.stopping()), runtime));
    }

    /// Cancelled once the group is asked to stop.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// How many tasks run now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether no task runs now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Asks every task to stop and waits for them.
    ///
    /// # Errors
    /// [`Stuck`] when some ignored the request for longer than `grace`.
    pub async fn drain(&self, grace: Duration) -> Result<(), Stuck> {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait())
            .await
            .map_err(|_elapsed| Stuck(self.tracker.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn drain_waits_for_polite_tasks_and_counts_rude_ones() {
        let tasks = Tasks::default();
        tasks.spawn("polite", |stop| async move { stop.cancelled().await });
        tasks.spawn("rude", |_stop| std::future::pending());
        assert_eq!(tasks.drain(Duration::from_secs(30)).await, Err(Stuck(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn bare_work_is_asked_to_stop_and_waited_for_like_any_other() {
        let tasks = Tasks::default();
        tasks.spawn_bare(|stop| async move { stop.cancelled().await });
        assert_eq!(tasks.len(), 1);
        assert_eq!(tasks.drain(Duration::from_secs(30)).await, Ok(()));
        tasks.spawn_bare(|_stop| std::future::pending());
        assert_eq!(tasks.drain(Duration::from_secs(30)).await, Err(Stuck(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_child_stops_with_its_parent_but_not_the_other_way() {
        let parent = Tasks::default();
        let child = parent.child();
        assert_eq!(child.drain(Duration::ZERO).await, Ok(()));
        assert!(!parent.stopping().is_cancelled());
        let child = parent.child();
        assert_eq!(parent.drain(Duration::ZERO).await, Ok(()));
        assert!(child.stopping().is_cancelled());
    }
}
