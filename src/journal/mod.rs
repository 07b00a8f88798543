//! What the node must not forget; the only module that names the node's SQLite.
//!
//! One thread owns the database. Whoever has something to remember queues it and waits; each time
//! the thread wakes it drains the queue into one transaction, so twenty claims cost one commit.
//!
//! | commit | `synchronous` | what a `kill -9` loses | what a power cut loses |
//! |---|---|---|---|
//! | claims, bindings, samples | NORMAL | nothing | rows of sessions that died with the host |
//! | endings, identity | FULL | nothing | nothing |
//!
//! A row is one document; the columns beside it are what SQL is asked about. [`open`] answers all
//! that was known, for reconciliation, together with the handle.

mod error;
mod lock;
mod read;
mod row;
mod schema;
mod write;
mod writer;

use std::path::Path;

pub use error::JournalError;
pub use lock::StateLock;
pub use row::{Binding, InstanceRow, LeaseRow, SessionRow};
pub use writer::Journal;

use crate::model::NodeId;

/// What the journal knew when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// This node, for as long as its state directory lives.
    pub node: NodeId,
    /// Larger at every start: the newest agent owns the relay.
    pub epoch: u64,
    /// Sessions that had not ended.
    pub sessions: Vec<SessionRow>,
    /// Instances that were not gone.
    pub instances: Vec<InstanceRow>,
    /// Addresses that are held or rest.
    pub leases: Vec<LeaseRow>,
}

/// Opens the journal in `path`, making it where there is none.
///
/// # Errors
/// [`JournalError`]: a file that is no journal, one of a newer version, a full disk.
pub fn open(path: &Path) -> Result<(Journal, Recovered), JournalError> {
    let mut database = schema::open(path)?;
    let recovered = read::recover(&mut database)?;
    let journal = writer::start(database)?;
    Ok((journal, recovered))
}

#[cfg(test)]
mod tests;
