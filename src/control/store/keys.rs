//! Keys and the workspaces that they open.

use rusqlite::{OptionalExtension, params};
use time::OffsetDateTime;

use super::{
    Store, StoreError,
    rows::{micros, moment, optional_moment},
    workspaces::{ensure_workspace, read, written},
};
use crate::{
    control::{ApiKey, Caller, KeyHash, Policy, Workspace},
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
    /// What it narrows its workspace's policy by.
    pub policy: Policy,
}

impl Store {
    /// Stores the hash of `key`, with what its sessions may do. A key that was stored before is valid again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_key(
        &self,
        key: &ApiKey,
        workspace: &Workspace,
        policy: &Policy,
    ) -> Result<(), StoreError> {
        let (hash, prefix, workspace) = (key.hash(), key.prefix(), workspace.clone());
        let policy = written(policy)?;
        self.run(move |db| {
            let transaction = db.transaction()?;
            ensure_workspace(&transaction, &workspace)?;
            transaction.execute(
                "INSERT INTO api_key (hash, prefix, workspace, created_at, policy)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (hash) DO UPDATE SET revoked_at = NULL, policy = excluded.policy",
                params![hash, prefix, workspace.as_str(), micros(wall_now()), policy],
            )?;
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Whoever presents a key: the workspace that it opens, and what both may do.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn caller(&self, hash: KeyHash) -> Result<Option<Caller>, StoreError> {
        self.run(move |db| {
            let found: Option<(String, Option<String>, Option<String>)> = db
                .prepare_cached(
                    "SELECT name, workspace.policy, api_key.policy
                     FROM api_key JOIN workspace ON name = workspace
                     WHERE hash = ?1 AND revoked_at IS NULL",
                )?
                .query_row(params![hash], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let Some((name, of_all, of_key)) = found else {
                return Ok(None);
            };
            let workspace = name
                .parse()
                .map_err(|_invalid| StoreError::Unreadable { what: "workspace" })?;
            Ok(Some(Caller {
                workspace,
                policies: vec![read(of_all)?, read(of_key)?],
            }))
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
                "SELECT prefix, workspace, created_at, revoked_at, policy FROM api_key
                 ORDER BY created_at DESC, prefix",
            )?;
            let rows = query.query_map([], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ))
            })?;
            rows.map(|row| {
                let (prefix, workspace, created_at, revoked_at, policy) = row?;
                Ok(KeyEntry {
                    prefix,
                    workspace,
                    created_at: moment(created_at)?,
                    revoked_at: optional_moment(revoked_at)?,
                    policy: read(policy)?,
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
