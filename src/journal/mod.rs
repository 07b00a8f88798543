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
//!
//! A file that is torn, truncated or missing where there was one is [`Damage`]: it is moved aside and a
//! new journal begun under the same node id, which is kept beside it in a file of its own. What the
//! old one knew is rebuilt from the host; that is not this module's business.

mod damage;
mod error;
mod identity;
mod lock;
mod read;
mod row;
mod schema;
mod write;
mod writer;

use std::path::Path;

pub use damage::Damage;
pub use error::JournalError;
pub use identity::node_of;
pub use lock::StateLock;
pub use row::{Ahead, Binding, InstanceRow, LeaseRow, SessionRow, Under};
pub use writer::Journal;

use crate::model::{Duty, Lease, NodeId};

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
    /// Routes that are held or rest.
    pub leases: Vec<LeaseRow>,
    /// The lease that was granted last, if ever one was.
    pub lease: Option<Lease>,
    /// Whether it is in service.
    pub duty: Duty,
    /// What was wrong with the journal that was here before.
    pub damage: Option<Damage>,
}

/// Opens the journal in `path`, making it where there is none; a damaged one is put aside.
///
/// # Errors
/// [`JournalError`]: a file of a newer version, a full disk, a directory that cannot be used. Nothing
/// is put aside then.
pub fn open(path: &Path) -> Result<(Journal, Recovered), JournalError> {
    let state_dir = path.parent().unwrap_or_else(|| Path::new("."));
    let node = node_of(state_dir)?;
    let used_before = node.is_some();
    let (database, recovered) = match attempt(path, node, used_before) {
        Err(JournalError::Damaged(why) | JournalError::Unreadable(why)) => {
            let damage = damage::put_aside(path, why)?;
            let (database, recovered) = attempt(path, node, false)?;
            (
                database,
                Recovered {
                    damage: Some(damage),
                    ..recovered
                },
            )
        }
        opened => opened?,
    };
    if node != Some(recovered.node) {
        identity::remember(state_dir, recovered.node)?;
    }
    Ok((writer::start(database)?, recovered))
}

fn attempt(
    path: &Path,
    node: Option<NodeId>,
    used_before: bool,
) -> Result<(rusqlite::Connection, Recovered), JournalError> {
    // To SQLite nothing is a fine beginning of a database.
    if used_before && !path.exists() {
        return Err(JournalError::Damaged("it is missing".to_owned()));
    }
    let mut database = schema::open(path, used_before)?;
    let recovered = read::recover(&mut database, node)?;
    Ok((database, recovered))
}

#[cfg(test)]
mod tests;
