//! What can go wrong with the journal.

use std::{io, path::PathBuf};

use crate::model::{Class, Classify};

/// The journal could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// SQLite's own words.
    #[error("the journal failed: {0}")]
    Database(String),
    /// The file is not what was written to it.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    /// A document that this version cannot read.
    #[error("the journal holds a row that cannot be read: {0}")]
    Unreadable(String),
    /// Written by a later version.
    #[error("{} has schema {found}, this version knows {known}: run the newer chaser", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Another agent owns the state directory.
    #[error("{} is owned by another agent (pid {pid}): stop it, or use another --state-dir", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as it said itself.
        pid: String,
    },
    /// The state directory cannot be used.
    #[error("{}: {why}", path.display())]
    StateDir {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The writer has stopped.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::StateDir {
            path,
            why: error.to_string(),
        }
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        /// The file ends before its last page does.
        const SHORT_READ: i32 = rusqlite::ffi::SQLITE_IOERR_SHORT_READ;
        let said = error.to_string();
        match error.sqlite_error() {
            Some(code)
                if matches!(code.code, DatabaseCorrupt | NotADatabase)
                    || code.extended_code == SHORT_READ =>
            {
                Self::Damaged(said)
            }
            _ => Self::Database(said),
        }
    }
}

impl From<serde_json::Error> for JournalError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl Classify for JournalError {
    fn class(&self) -> Class {
        match self {
            Self::Database(_) | Self::Damaged(_) | Self::Unreadable(_) | Self::Closed => {
                Class::Internal
            }
            Self::Newer { .. } | Self::StateDir { .. } => Class::Invalid,
            Self::Locked { .. } => Class::Conflict,
        }
    }
}
