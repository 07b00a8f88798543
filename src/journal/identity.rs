//! Which node this is: `S/node.id`, beside the journal and older than it.
//!
//! Containers carry the id as a label; a node that forgot it with a broken journal would take its own
//! containers for a stranger's.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use tracing::warn;

use super::JournalError;
use crate::model::NodeId;

const FILE: &str = "node.id";

/// The id that a state directory is known by; `None` for a fresh one.
///
/// # Errors
/// [`JournalError::StateDir`] when the file is there and cannot be read.
pub fn node_of(state_dir: &Path) -> Result<Option<NodeId>, JournalError> {
    let path = state_dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(JournalError::at(path)(error)),
    };
    let id = text.trim().parse();
    Ok(id
        .inspect_err(|error| warn!(path = %path.display(), %error, "this is no node's id"))
        .ok())
}

/// Remembers the id; survives a power cut.
pub(super) fn remember(state_dir: &Path, id: NodeId) -> Result<(), JournalError> {
    let path = state_dir.join(FILE);
    let write = || {
        let draft = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&draft)?;
        writeln!(file, "{id}")?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(state_dir)?.sync_all()
    };
    write().map_err(JournalError::at(&path))
}
