//! The operator's key: made by the first start that has no other, kept in the state directory.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tracing::info;

use crate::control::{ApiKey, InvalidKey, Policy, Store, StoreError, Workspace};

/// Why there is no operator's key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorKeyError {
    /// The file.
    #[error("the operator's key {} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What it holds.
    #[error("{} holds no API key; remove it and a new one is made", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: InvalidKey,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The key that the operator's tools use: a configured one, the one of an earlier start, or a fresh
/// one when no key is valid at all. `None` when there are keys, but only their hashes are known.
///
/// # Errors
/// [`OperatorKeyError`].
pub(super) async fn ensure(
    store: &Store,
    configured: &[ApiKey],
    path: &Path,
) -> Result<Option<ApiKey>, OperatorKeyError> {
    if let Some(key) = configured.first() {
        return Ok(Some(key.clone()));
    }
    let others = store.has_keys().await?;
    if let Some(key) = read(path)? {
        if store.caller(key.hash()).await?.is_some() {
            return Ok(Some(key));
        }
        // With other keys about it was revoked; without, the records were removed.
        if others {
            return Ok(None);
        }
        store
            .add_key(&key, &Workspace::standard(), &Policy::default())
            .await?;
        return Ok(Some(key));
    }
    if others {
        return Ok(None);
    }
    let key = ApiKey::random();
    write(path, &key)?;
    store
        .add_key(&key, &Workspace::standard(), &Policy::default())
        .await?;
    info!(path = %path.display(), "made the operator's key");
    Ok(Some(key))
}

fn read(path: &Path) -> Result<Option<ApiKey>, OperatorKeyError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            let path = path.to_owned();
            return Err(OperatorKeyError::File { path, source });
        }
    };
    let key = text.trim().parse();
    key.map(Some)
        .map_err(|source| OperatorKeyError::Unreadable {
            path: path.to_owned(),
            source,
        })
}

fn write(path: &Path, key: &ApiKey) -> Result<(), OperatorKeyError> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{}", key.expose()));
    made.map_err(|source| OperatorKeyError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn the_first_start_makes_a_key_and_later_ones_use_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("control.db")).unwrap();
        let path = dir.path().join("operator.key");
        let first = ensure(&store, &[], &path).await.unwrap().unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            ensure(&store, &[], &path).await.unwrap(),
            Some(first.clone())
        );
        let given = ApiKey::random();
        let used = ensure(&store, std::slice::from_ref(&given), &path).await;
        assert_eq!(used.unwrap(), Some(given));
        // Revoked while another key is valid: it stays revoked.
        store
            .add_key(
                &ApiKey::random(),
                &Workspace::standard(),
                &Policy::default(),
            )
            .await
            .unwrap();
        store.revoke_keys(&first.prefix()).await.unwrap();
        assert_eq!(ensure(&store, &[], &path).await.unwrap(), None);
    }
}
