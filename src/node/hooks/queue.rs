//! Letters on disk, in order: written before they are sent, gone when they were taken.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;
use tracing::warn;

use super::HookStatus;

/// What a receiver gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Letter {
    /// The same for every copy.
    pub(super) id: String,
    pub(super) event: String,
    /// RFC 3339.
    pub(super) at: String,
    pub(super) node: String,
    pub(super) data: Value,
}

/// The letters of one target.
#[derive(Debug)]
pub(super) struct Queue {
    dir: PathBuf,
    limit: usize,
    /// Numbers of those that wait. Held to look or to change, never across a wait.
    waiting: Mutex<BTreeSet<u64>>,
    news: Notify,
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Queue {
    /// What an earlier agent left waits first.
    pub(super) fn open(dir: PathBuf, limit: usize) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut waiting = BTreeSet::new();
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            match (number, path.extension().and_then(|end| end.to_str())) {
                (Some(number), Some("json")) => {
                    waiting.insert(number);
                }
                // Half a letter of an agent that was killed: its event is told again.
                _ => fs::remove_file(&path)?,
            }
        }
        Ok(Self {
            dir,
            limit,
            waiting: Mutex::new(waiting),
            news: Notify::new(),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:020}.json"))
    }

    /// Adds a letter; it is on disk when this returns. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// Whatever the file system says: the letter is not there then.
    pub(super) fn push(&self, letter: &Letter) -> io::Result<()> {
        let number = self.waiting.lock().last().map_or(1, |last| last + 1);
        let draft = self.dir.join("draft");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec(letter)?)?;
        file.sync_data()?;
        fs::rename(&draft, self.path(number))?;
        File::open(&self.dir)?.sync_data()?;
        let mut waiting = self.waiting.lock();
        waiting.insert(number);
        let oldest = (waiting.len() > self.limit).then(|| waiting.pop_first());
        drop(waiting);
        if let Some(Some(oldest)) = oldest {
            self.forget(oldest);
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            warn!(dir = %self.dir.display(), dropped, "the queue of a hook is full; its oldest letter is given up");
        }
        self.news.notify_one();
        Ok(())
    }

    /// The letter that is due; waits for one. Cancel-safe.
    pub(super) async fn oldest(&self) -> (u64, Letter) {
        loop {
            let first = self.waiting.lock().first().copied();
            match first {
                Some(number) => match self.read(number) {
                    Ok(letter) => return (number, letter),
                    Err(error) => {
                        let file = self.path(number);
                        warn!(file = %file.display(), %error, "no letter; it is removed");
                        self.give_up(number);
                    }
                },
                None => self.news.notified().await,
            }
        }
    }

    fn read(&self, number: u64) -> io::Result<Letter> {
        Ok(serde_json::from_slice(&fs::read(self.path(number))?)?)
    }

    /// It was taken.
    pub(super) fn delivered(&self, number: u64) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        self.done(number);
    }

    /// It will be tried again.
    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// It will not.
    pub(super) fn give_up(&self, number: u64) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.done(number);
    }

    fn done(&self, number: u64) {
        // One that the full queue gave up meanwhile is gone already.
        if self.waiting.lock().remove(&number) {
            self.forget(number);
        }
    }

    fn forget(&self, number: u64) {
        if let Err(error) = fs::remove_file(self.path(number)) {
            warn!(%error, "a letter stays; the next start sends it again");
        }
    }

    pub(super) fn status(&self, target: &'static str) -> HookStatus {
        let pending = self.waiting.lock().len();
        HookStatus {
            target,
            pending: u64::try_from(pending).unwrap_or(u64::MAX),
            delivered: self.delivered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(id: &str) -> Letter {
        Letter {
            id: id.to_owned(),
            event: "node.ready".to_owned(),
            at: "2026-01-01T00:00:00Z".to_owned(),
            node: "n".to_owned(),
            data: Value::Null,
        }
    }

    async fn next(queue: &Queue) -> (u64, String) {
        let (number, letter) = queue.oldest().await;
        (number, letter.id)
    }

    #[tokio::test]
    async fn letters_leave_in_their_order_and_outlive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Queue::open(dir.path().to_owned(), 10).unwrap();
        let queue = open();
        for id in ["a", "b", "c"] {
            queue.push(&letter(id)).unwrap();
        }
        let (number, id) = next(&queue).await;
        assert_eq!(id, "a");
        queue.delivered(number);
        drop(queue);
        fs::write(dir.path().join("draft"), "{\"id\":").unwrap();
        fs::write(dir.path().join("00000000000000000002.json"), "torn").unwrap();
        let queue = open();
        queue.push(&letter("d")).unwrap();
        let mut left = Vec::new();
        for _ in 0..2 {
            let (number, id) = next(&queue).await;
            left.push(id);
            queue.delivered(number);
        }
        assert_eq!(left, ["c", "d"]);
        let status = queue.status("exec");
        assert_eq!(
            (status.pending, status.delivered, status.dropped),
            (0, 2, 1)
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_full_queue_gives_up_the_oldest_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue::open(dir.path().to_owned(), 2).unwrap();
        queue.push(&letter("a")).unwrap();
        let (sending, _) = next(&queue).await;
        for id in ["b", "c", "d"] {
            queue.push(&letter(id)).unwrap();
        }
        // The one that was being sent was given up meanwhile.
        queue.delivered(sending);
        assert_eq!(next(&queue).await.1, "c");
        let status = queue.status("exec");
        assert_eq!((status.pending, status.dropped), (2, 2));
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_a_letter() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Queue::open(dir.path().to_owned(), 2).unwrap();
        let (got, ()) = tokio::join!(next(&queue), async { queue.push(&letter("a")).unwrap() });
        assert_eq!(got.1, "a");
    }
}
