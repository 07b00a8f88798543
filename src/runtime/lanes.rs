//! Threads that each run their own tasks and nobody else's: for work that is many small exchanges.
//!
//! A pool of workers wakes a second one whenever the first finds something to do, so that no task
//! waits; an exchange that is over in microseconds pays for that with every message. On a lane it does
//! not: what runs there stays there, and must be brief between two awaits.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::cores;

/// The most that are made.
const MOST: usize = 16;

/// The lanes of one process; they end when this is dropped, and their tasks with them.
#[derive(Debug)]
pub struct Lanes {
    handles: Vec<Handle>,
    next: AtomicUsize,
    _end: DropGuard,
}

impl Lanes {
    /// One for each core.
    ///
    /// # Errors
    /// When no more threads or descriptors are to be had.
    pub fn start(name: &str) -> io::Result<Arc<Self>> {
        let end = CancellationToken::new();
        let lane = |_number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (handle, end) = (runtime.handle().clone(), end.clone());
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || runtime.block_on(end.cancelled()))?;
            Ok(handle)
        };
        let handles: io::Result<Vec<_>> = (0..cores().min(MOST)).map(lane).collect();
        Ok(Arc::new(Self {
            handles: handles?,
            next: AtomicUsize::new(0),
            _end: end.drop_guard(),
        }))
    }

    /// The one whose turn it is.
    #[must_use]
    pub fn next(&self) -> &Handle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.handles[turn % self.handles.len()]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::runtime::Tasks;

    #[tokio::test]
    async fn tasks_take_turns_on_the_lanes_and_end_with_their_group() {
        let (lanes, tasks) = (Lanes::start("lane").unwrap(), Tasks::default());
        let (told, mut told_by) = tokio::sync::mpsc::channel(64);
        for _ in 0..lanes.handles.len() * 2 {
            let told = told.clone();
            tasks.spawn_bare_on(lanes.next(), |stop| async move {
                told.send(thread::current().id()).await.unwrap();
                stop.cancelled().await;
            });
        }
        drop(told);
        let mut threads = HashSet::new();
        while let Some(thread) = told_by.recv().await {
            threads.insert(thread);
            if threads.len() == lanes.handles.len() {
                break;
            }
        }
        assert!(!threads.contains(&thread::current().id()));
        let grace = std::time::Duration::from_secs(30);
        assert_eq!(tasks.drain(grace).await, Ok(()));
    }
}
