//! The tables and their versions.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use rusqlite::Connection;

use super::{JournalError, damage};

/// Each step leads from the version that is its index to the next; none is ever changed.
pub(super) const STEPS: &[&str] = &[
    "
    CREATE TABLE meta (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
    CREATE TABLE sessions (
        id       TEXT PRIMARY KEY,
        phase    TEXT NOT NULL,
        ended_at INTEGER,              -- microseconds since the epoch, NULL while it lives
        up       INTEGER NOT NULL DEFAULT 0,
        down     INTEGER NOT NULL DEFAULT 0,
        cdp_up   INTEGER NOT NULL DEFAULT 0,
        cdp_down INTEGER NOT NULL DEFAULT 0,
        document TEXT NOT NULL
    ) STRICT;
    CREATE INDEX sessions_by_end ON sessions (ended_at);
    CREATE TABLE instances (
        id       TEXT PRIMARY KEY,
        document TEXT NOT NULL
    ) STRICT;
    CREATE TABLE leases (
        instance TEXT PRIMARY KEY,
        document TEXT NOT NULL
    ) STRICT;
",
    "
    ALTER TABLE sessions ADD COLUMN connections INTEGER NOT NULL DEFAULT 0;
",
];

/// Opens the database and brings it to this version. One that was `used_before` has tables.
pub(super) fn open(path: &Path, used_before: bool) -> Result<Connection, JournalError> {
    // Tokens are in it: made private before SQLite, which would use the umask, makes it.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(JournalError::at(path))?;
    if !damage::is_whole(path).map_err(JournalError::at(path))? {
        return Err(JournalError::Damaged("it is cut off".to_owned()));
    }
    let mut database = Connection::open(path)?;
    database.busy_timeout(Duration::from_secs(5))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    let found: u32 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(JournalError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    if used_before && found == 0 {
        return Err(JournalError::Damaged("it holds nothing".to_owned()));
    }
    damage::check(&database)?;
    let change = database.transaction()?;
    for step in STEPS.iter().skip(found as usize) {
        change.execute_batch(step)?;
    }
    change.pragma_update(None, "user_version", known)?;
    change.commit()?;
    Ok(database)
}
