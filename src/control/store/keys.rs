//! Keys and the workspaces that they open.

use rusqlite::{Connection, OptionalExtension, params};
use time::OffsetDateTime;

use super::{
    Store, StoreError,
    rows::{micros, moment, optional_moment},
};
use crate::{
    control::{ApiKey, KeyHash, Workspace},
    runtime::wall_now,
};

/// A key as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// Its first characters.
    pub prefix: String,
    /// The workspace that it opens.
    pub workspace: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was revoked.
    pub revoked_at: Option<OffsetDateTime>,
}

/// Makes the workspace when there is none of this name.
pub(super) fn ensure_workspace(db: &Connection, workspace: &Workspace) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO workspace (name, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![workspace.as_str(), micros(wall_now())],
    )?;
    Ok(())
}

impl Store {
    /// Stores the hash of `key`. A key that was stored before is valid again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_key(&self, key: &ApiKey, workspace: &Workspace) -> Result<(), StoreError> {
        let (hash, prefix, workspace) = (key.hash(), key.prefix(), workspace.clone());
        self.run(move |db| {
            let transaction = db.transaction()?;
            ensure_workspace(&transaction, &workspace)?;
            transaction.execute(
                "INSERT INTO api_key (hash, prefix, workspace, created_at)
                 VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (hash) DO UPDATE SET revoked_at = NULL",
                params![hash, prefix, workspace.as_str(), micros(wall_now())],
            )?;
            Ok(transaction.commit()?)
        })
        .await
    }

    /// The workspace that a key opens.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn workspace_of(&self, hash: KeyHash) -> Result<Option<Workspace>, StoreError> {
        self.run(move |db| {
            let name: Option<String> = db
                .prepare_cached(
                    "SELECT workspace FROM api_key WHERE hash = ?1 AND revoked_at IS NULL",
                )?
                .query_row(params![hash], |row| row.get(0))
                .optional()?;
            name.map(|name| name.parse())
                .transpose()
                .map_err(|_invalid| StoreError::Unreadable { what: "workspace" })
        })
        .await
    }

    /// Every key, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys(&self) -> Result<Vec<KeyEntry>, StoreError> {
        self.run(|db| {
            let mut query = db.prepare_cached(
                "SELECT prefix, workspace, created_at, revoked_at FROM api_key
                 ORDER BY created_at DESC, prefix",
            )?;
            let rows = query.query_map([], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
            rows.map(|row| {
                let (prefix, workspace, created_at, revoked_at) = row?;
                Ok(KeyEntry {
                    prefix,
                    workspace,
                    created_at: moment(created_at)?,
                    revoked_at: optional_moment(revoked_at)?,
                })
            })
            .collect()
        })
        .await
    }

    /// Revokes every key that starts like this; answers how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_keys(&self, prefix: &str) -> Result<usize, StoreError> {
        let prefix = prefix.to_owned();
        self.run(move |db| {
            Ok(db.execute(
                "UPDATE api_key SET revoked_at = ?2 WHERE prefix = ?1 AND revoked_at IS NULL",
                params![prefix, micros(wall_now())],
            )?)
        })
        .await
    }

    /// Whether any key is valid.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_keys(&self) -> Result<bool, StoreError> {
        self.run(|db| {
            Ok(db.query_row(
                "SELECT EXISTS (SELECT 1 FROM api_key WHERE revoked_at IS NULL)",
                [],
                |row| row.get(0),
            )?)
        })
        .await
    }
}
