//! One small file per bound instance: enough to rebuild a lost journal, also without a relay.

use std::{
    borrow::Cow,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::{Deserialize, Serialize};

use super::{Paths, client::Bind};
use crate::model::{InstanceId, SessionId};

/// Larger than any record; the relay's user may put anything there.
const MAX_FILE: u64 = 1 << 20;
const MAX_FILES: usize = 10_000;

/// What `R/instances/<instance>` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Record<'a> {
    session: Cow<'a, SessionId>,
    instance: InstanceId,
    /// Opaque to the relay.
    record: Cow<'a, [u8]>,
}

/// Every record that can be read, as the agent gave it; the rest is passed over.
#[must_use]
pub fn read_all(paths: &Paths) -> Vec<(InstanceId, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(paths.root.join("instances")) else {
        return Vec::new();
    };
    let read = |path: &Path| -> io::Result<(InstanceId, Vec<u8>)> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(O_NOFOLLOW | O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut text = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut text)?;
        let record: Record<'_> = serde_json::from_slice(&text)?;
        Ok((record.instance, record.record.into_owned()))
    };
    entries
        .take(MAX_FILES)
        .filter_map(|entry| read(&entry.ok()?.path()).ok())
        .collect()
}

/// Writes the record of a binding, whole or not at all.
pub(super) fn write(paths: &Paths, bind: &Bind) -> io::Result<()> {
    let record = serde_json::to_vec(&Record {
        session: Cow::Borrowed(&bind.session),
        instance: bind.instance,
        record: Cow::Borrowed(&bind.record),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{model::Traffic, relay::Way, runtime::boot_now};

    #[test]
    fn what_was_written_is_read_and_what_is_no_record_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            root: dir.path().to_owned(),
        };
        fs::create_dir(dir.path().join("instances")).unwrap();
        let bind = Bind {
            session: SessionId::random(),
            instance: InstanceId::random(),
            way: Some(Way::default()),
            deadline: boot_now().unwrap(),
            idle_timeout: Duration::ZERO,
            token: None,
            record: b"opaque".to_vec(),
            used: Traffic::default(),
            reroute: false,
        };
        write(&paths, &bind).unwrap();
        fs::write(dir.path().join("instances/half"), "{\"session\":").unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("instances/link")).unwrap();
        assert_eq!(read_all(&paths), [(bind.instance, bind.record)]);
        take_back(&paths, bind.instance);
        assert!(read_all(&paths).is_empty());
    }
}
