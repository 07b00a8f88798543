//! The control plane's memory: `S/control.db`. All its SQL is in this folder.
//!
//! One thread owns the connection and does one job after another, so a job is a transaction that
//! nobody can interleave with; callers await its answer. Commits are `FULL` (on disk before anyone
//! hears of it) except for byte counts of live sessions, which a power cut ends anyway.

mod keys;
mod rows;
mod schema;
mod sessions;
mod workspaces;

use std::{
    fs::{OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

pub use keys::KeyEntry;
pub(crate) use sessions::NewSession;
pub use sessions::{Change, Page};
pub use workspaces::WorkspaceEntry;

use super::limit::Exceeded;
use crate::model::{Class, Classify};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Jobs that may wait; more callers wait for their turn to ask.
const QUEUE: usize = 256;

/// A handle; clones share the one connection.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
}

/// What the database said.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be made, or not be made private.
    #[error("the session database {} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// SQLite refused.
    #[error("the session database failed")]
    Database(#[from] rusqlite::Error),
    /// A value in it is none of ours.
    #[error("the session database holds an unreadable {what}")]
    Unreadable {
        /// Which value.
        what: &'static str,
    },
    /// A newer program wrote it.
    #[error("the session database has version {found}, this program knows {known}: upgrade it")]
    Version {
        /// What it says.
        found: i64,
        /// What this program can read.
        known: i64,
    },
    /// The thread that owns it could not be started or has stopped.
    #[error("the session database is closed")]
    Closed(#[source] Option<io::Error>),
    /// The limits of the workspace do not allow it.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
}

impl Classify for StoreError {
    fn class(&self) -> Class {
        match self {
            Self::File { .. } => Class::Invalid,
            Self::Database(_) | Self::Unreadable { .. } | Self::Version { .. } => Class::Internal,
            Self::Closed(_) => Class::Unavailable,
            Self::Exceeded(_) => Class::Exhausted,
        }
    }
}

impl Store {
    /// Opens or makes the database and starts the thread that owns it.
    ///
    /// # Errors
    /// When it cannot be opened, or was written by a newer program.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        private(path).map_err(|source| StoreError::File {
            path: path.to_owned(),
            source,
        })?;
        let mut db = Connection::open(path)?;
        schema::prepare(&mut db)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        let work = move || {
            while let Some(job) = queue.blocking_recv() {
                job(&mut db);
            }
        };
        std::thread::Builder::new()
            .name("control-db".to_owned())
            .spawn(work)
            .map_err(|error| StoreError::Closed(Some(error)))?;
        Ok(Self { jobs })
    }

    /// Runs one job. Cancel-safe in the sense that a job that was queued is done in any case.
    async fn run<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            // Whoever asked may be gone; the job is done all the same.
            drop(answer.send(job(db)));
        });
        if self.jobs.send(job).await.is_err() {
            return Err(StoreError::Closed(None));
        }
        answered
            .await
            .map_err(|_stopped| StoreError::Closed(None))?
    }
}

/// Whole session ids are in it, and each opens a browser: nobody else on the host may read it, whatever
/// the state directory allows. SQLite gives the files beside it the same mode.
fn private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
