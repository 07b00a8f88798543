//! Workspaces and what an operator grants them.

use rusqlite::{Connection, OptionalExtension, params};
use time::OffsetDateTime;

use super::{
    Store, StoreError,
    rows::{micros, moment},
};
use crate::{
    control::{Policy, Workspace},
    runtime::wall_now,
};

/// A workspace as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceEntry {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// How many of its keys are valid.
    pub keys: u32,
    /// How many of its sessions have not ended.
    pub live: u32,
    /// What its sessions may do.
    pub policy: Policy,
}

/// Makes the workspace when there is none of this name.
pub(super) fn ensure_workspace(db: &Connection, workspace: &Workspace) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO workspace (name, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![workspace.as_str(), micros(wall_now())],
    )?;
    Ok(())
}

/// What is stored of a policy; one that says nothing is none.
pub(super) fn written(policy: &Policy) -> Result<Option<String>, StoreError> {
    let text = (!policy.is_empty()).then(|| serde_json::to_string(policy));
    text.transpose()
        .map_err(|_unwritable| StoreError::Unreadable { what: "policy" })
}

/// A stored policy. One that cannot be read is no permission.
pub(super) fn read(text: Option<String>) -> Result<Policy, StoreError> {
    let policy = text.map(|text| serde_json::from_str(&text));
    policy
        .transpose()
        .map(Option::unwrap_or_default)
        .map_err(|_invalid| StoreError::Unreadable { what: "policy" })
}

impl Store {
    /// What the sessions of a workspace may do; one that there is not may do everything.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn policy(&self, workspace: &Workspace) -> Result<Policy, StoreError> {
        let name = workspace.as_str().to_owned();
        self.run(move |db| {
            let text: Option<Option<String>> = db
                .prepare_cached("SELECT policy FROM workspace WHERE name = ?1")?
                .query_row(params![name], |row| row.get(0))
                .optional()?;
            read(text.flatten())
        })
        .await
    }

    /// Sets that, for orders from now on; the workspace is made when there is none of this name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_policy(
        &self,
        workspace: &Workspace,
        policy: &Policy,
    ) -> Result<(), StoreError> {
        let (workspace, policy) = (workspace.clone(), written(policy)?);
        self.run(move |db| {
            let transaction = db.transaction()?;
            ensure_workspace(&transaction, &workspace)?;
            transaction.execute(
                "UPDATE workspace SET policy = ?2 WHERE name = ?1",
                params![workspace.as_str(), policy],
            )?;
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Every workspace, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceEntry>, StoreError> {
        self.run(|db| {
            let mut query = db.prepare_cached(
                "SELECT name, created_at, policy,
                   (SELECT count(*) FROM api_key WHERE workspace = name AND revoked_at IS NULL),
                   (SELECT count(*) FROM session WHERE workspace = name AND ended_at IS NULL)
                 FROM workspace ORDER BY name",
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
                let (name, created_at, policy, keys, live) = row?;
                Ok(WorkspaceEntry {
                    name,
                    created_at: moment(created_at)?,
                    policy: read(policy)?,
                    keys,
                    live,
                })
            })
            .collect()
        })
        .await
    }
}
