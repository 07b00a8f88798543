//! Session records.

use std::time::Duration;

use rusqlite::{Connection, params};
use time::OffsetDateTime;

use super::{
    Store, StoreError,
    rows::{COLUMNS, many, micros, moment, one, optional_moment, update},
    workspaces::ensure_workspace,
};
use crate::{
    control::{
        Cursor, Record, Sighting, Status, Workspace,
        limit::{self, Limits, Usage},
    },
    model::{SessionId, Traffic},
};

/// An order that the limits may refuse.
#[derive(Debug, Clone)]
pub(crate) struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Its owner.
    pub workspace: Workspace,
    /// The device profile.
    pub profile: String,
    /// The lifetime.
    pub ttl: Duration,
    /// Now.
    pub created_at: OffsetDateTime,
}

/// One page of a listing.
#[derive(Debug, Clone)]
pub struct Page {
    /// Newest first.
    pub records: Vec<Record>,
    /// Where the next page starts, when there is one.
    pub next: Option<Cursor>,
}

/// A record before and after news of it.
#[derive(Debug, Clone)]
pub struct Change {
    /// What was known before.
    pub before: Record,
    /// What is known now.
    pub after: Record,
}

impl Store {
    /// Admits and records an order, in one transaction: two orders cannot take the same last slot.
    ///
    /// # Errors
    /// [`StoreError::Exceeded`] when a limit stands in the way.
    pub(crate) async fn admit(
        &self,
        order: NewSession,
        limits: Limits,
    ) -> Result<Record, StoreError> {
        self.run(move |db| {
            let transaction = db.transaction()?;
            let usage = usage(&transaction, &order, limits)?;
            limit::admit(limits, &usage, order.created_at)?;
            ensure_workspace(&transaction, &order.workspace)?;
            let record = order.record();
            transaction
                .prepare_cached(
                    "INSERT INTO session
                         (id, workspace, profile, ttl_micros, status, created_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, 'creating', ?5, ?6)",
                )?
                .execute(params![
                    record.id.as_str(),
                    record.workspace.as_str(),
                    record.profile,
                    i64::try_from(record.ttl.as_micros()).unwrap_or(i64::MAX),
                    micros(record.created_at),
                    micros(record.expires_at),
                ])?;
            transaction.commit()?;
            Ok(record)
        })
        .await
    }

    /// Forgets an order that no node took.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn discard(&self, id: &SessionId) -> Result<(), StoreError> {
        let id = id.clone();
        self.run(move |db| {
            db.execute("DELETE FROM session WHERE id = ?1", params![id.as_str()])?;
            Ok(())
        })
        .await
    }

    /// The record of a session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn record(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        let id = id.clone();
        self.run(move |db| one(db, &id)).await
    }

    /// Records of a workspace, newest first, after `cursor`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn page(
        &self,
        workspace: &Workspace,
        limit: u32,
        cursor: Option<Cursor>,
    ) -> Result<Page, StoreError> {
        let workspace = workspace.clone();
        self.run(move |db| {
            let (at, id) = cursor.map_or((i64::MAX, String::new()), |cursor| {
                (cursor.created_at, cursor.id.as_str().to_owned())
            });
            let mut query = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM session
                 WHERE workspace = ?1 AND (created_at, id) < (?2, ?3)
                 ORDER BY created_at DESC, id DESC LIMIT ?4"
            ))?;
            // One more than asked for says whether there is another page.
            let asked = params![workspace.as_str(), at, id, i64::from(limit) + 1];
            let mut records = many(query.query(asked)?)?;
            let wanted = limit as usize;
            let more = records.len() > wanted;
            records.truncate(wanted);
            let next = records.last().filter(|_| more).map(|last| Cursor {
                created_at: micros(last.created_at),
                id: last.id.clone(),
            });
            Ok(Page { records, next })
        })
        .await
    }

    /// Every record that has not ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn live(&self) -> Result<Vec<Record>, StoreError> {
        self.run(|db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM session WHERE ended_at IS NULL"
            ))?;
            many(query.query([])?)
        })
        .await
    }

    /// Folds news into the record and answers it as it is now, whether or not these news changed
    /// it; `None` where there is no record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn observe(&self, news: Sighting) -> Result<Option<Change>, StoreError> {
        self.run(move |db| {
            let Some(before) = one(db, &news.id)? else {
                return Ok(None);
            };
            let Some(after) = before.fold(&news) else {
                let after = before.clone();
                return Ok(Some(Change { before, after }));
            };
            // Byte counts of live sessions need no disk: only a power cut could lose them.
            let durable = before.status != after.status;
            if !durable {
                db.pragma_update(None, "synchronous", "NORMAL")?;
            }
            let written = update(db, &after);
            if !durable {
                db.pragma_update(None, "synchronous", "FULL")?;
            }
            written?;
            Ok(Some(Change { before, after }))
        })
        .await
    }

    /// Forgets at most `most` records that ended before `before`; answers how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sweep(&self, before: OffsetDateTime, most: u32) -> Result<usize, StoreError> {
        self.run(move |db| {
            Ok(db.execute(
                "DELETE FROM session WHERE id IN
                     (SELECT id FROM session WHERE ended_at < ?1 ORDER BY ended_at LIMIT ?2)",
                params![micros(before), most],
            )?)
        })
        .await
    }
}

impl NewSession {
    fn record(&self) -> Record {
        Record {
            id: self.id.clone(),
            workspace: self.workspace.clone(),
            profile: self.profile.clone(),
            ttl: self.ttl,
            status: Status::Creating,
            device: None,
            traffic: Traffic::default(),
            egress_ip: None,
            egress_region: None,
            created_at: self.created_at,
            ready_at: None,
            expires_at: self.created_at + self.ttl,
            ended_at: None,
            failure: None,
            billable: false,
        }
    }
}

fn usage(db: &Connection, order: &NewSession, limits: Limits) -> Result<Usage, StoreError> {
    let workspace = order.workspace.as_str();
    let (live, next_expiry) = db
        .prepare_cached(
            "SELECT COUNT(*), MIN(expires_at) FROM session
             WHERE workspace = ?1 AND ended_at IS NULL",
        )?
        .query_row(params![workspace], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut query = db.prepare_cached(
        "SELECT created_at FROM session WHERE workspace = ?1 AND created_at > ?2
         ORDER BY created_at DESC LIMIT ?3",
    )?;
    let since = micros(order.created_at - limit::WINDOW);
    let recent = query
        .query_map(params![workspace, since, limits.per_minute], |row| {
            row.get(0)
        })?
        .map(|at| moment(at?))
        .collect::<Result<_, StoreError>>()?;
    Ok(Usage {
        live,
        next_expiry: optional_moment(next_expiry)?,
        recent,
    })
}
