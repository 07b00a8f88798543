//! A journal that cannot be trusted any more: told from one that merely cannot be used now, and put
//! aside, never overwritten.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::JournalError;
use crate::runtime::wall_now;

/// What was wrong with a journal, and where it is now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal was damaged ({why}); {}",
    match moved_to {
        Some(path) => format!("it is kept as {}, and a new one was begun", path.display()),
        None => "a new one was begun".to_owned(),
    }
)]
pub struct Damage {
    /// What was found.
    pub why: String,
    /// Where the damaged file is; `None` when there was none.
    pub moved_to: Option<PathBuf>,
}

/// Whether the file ends where it says. SQLite fills up a last page that is cut off with zeros and
/// goes on; a row that is mostly zeros is not found out by its checks.
pub(super) fn is_whole(path: &Path) -> io::Result<bool> {
    /// Where the page size, and the number of pages, are in the first page.
    const PAGE_SIZE: usize = 16;
    const PAGES: usize = 28;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut head = [0; 32];
    if length < 100 || file.read_exact(&mut head).is_err() {
        // No header: whether that is a beginning or damage is decided elsewhere.
        return Ok(true);
    }
    let page = match u16::from_be_bytes([head[PAGE_SIZE], head[PAGE_SIZE + 1]]) {
        1 => 65_536,
        size => u64::from(size).max(1),
    };
    let pages = head[PAGES..]
        .iter()
        .fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    // What a checkpoint that was interrupted has not written yet is still in the log.
    let logged = fs::metadata(suffixed(path, "-wal")).is_ok_and(|log| log.len() > 0);
    Ok(length % page == 0 && (logged || length >= page * pages))
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Reads every page once: SQLite finds a torn file only where it happens to look.
pub(super) fn check(database: &Connection) -> Result<(), JournalError> {
    let said: String = database.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if said == "ok" {
        return Ok(());
    }
    Err(JournalError::Damaged(said))
}

/// Moves the journal and what belongs to it out of the way.
pub(super) fn put_aside(path: &Path, why: String) -> Result<Damage, JournalError> {
    let stamp = wall_now().unix_timestamp();
    let mut number = 0;
    let aside = loop {
        let name = match number {
            0 => suffixed(path, &format!(".damaged-{stamp}")),
            _ => suffixed(path, &format!(".damaged-{stamp}-{number}")),
        };
        if !name.exists() {
            break name;
        }
        number += 1;
    };
    let mut moved_to = None;
    for suffix in ["", "-wal", "-shm"] {
        match fs::rename(suffixed(path, suffix), suffixed(&aside, suffix)) {
            Ok(()) if suffix.is_empty() => moved_to = Some(aside.clone()),
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(JournalError::at(path)(error)),
        }
    }
    Ok(Damage { why, moved_to })
}

#[cfg(test)]
#[path = "damage_tests.rs"]
mod tests;
