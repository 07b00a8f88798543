//! One small file per bound instance: enough to rebuild a lost journal.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::Serialize;

use crate::{
    model::{InstanceId, SessionId},
    relay::{Paths, client::Bind},
};

/// What `R/instances/<instance>` holds.
#[derive(Debug, Serialize)]
struct Record<'a> {
    session: &'a SessionId,
    instance: InstanceId,
    /// Opaque to the relay.
    record: &'a [u8],
}

/// Writes the record of a binding, whole or not at all.
pub(super) fn write(paths: &Paths, bind: &Bind) -> io::Result<()> {
    let record = serde_json::to_vec(&Record {
        session: &bind.session,
        instance: bind.instance,
        record: &bind.record,
    })?;
    let path = paths.instance(bind.instance);
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(&record)?;
    fs::rename(&fresh, &path)
}

/// Takes the record of a binding back.
pub(super) fn take_back(paths: &Paths, instance: InstanceId) {
    remove_file(&paths.instance(instance));
}

/// Removes what is on disk for an instance; absence is success.
pub(super) fn remove(paths: &Paths, instance: InstanceId) {
    for path in [paths.meter(instance), paths.instance(instance)] {
        remove_file(&path);
        // What a full disk or a kill left half written.
        remove_file(&path.with_extension("new"));
    }
}

fn remove_file(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a file of a gone instance stays");
        }
    }
}
