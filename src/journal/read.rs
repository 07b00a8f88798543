//! Questions to the database.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use serde::de::DeserializeOwned;

use super::{InstanceRow, JournalError, Recovered, SessionRow, row::LeaseRow};
use crate::{
    model::{NodeId, SessionId, Traffic},
    runtime::wall_now,
};

const SESSION: &str = "SELECT document, up, down, cdp_up, cdp_down, connections FROM sessions";

/// All that is known, and a new epoch for this start. `node` is who a journal without a name is of.
pub(super) fn recover(
    database: &mut Connection,
    node: Option<NodeId>,
) -> Result<Recovered, JournalError> {
    let change = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let used_before = node.is_some();
    let node = match meta(&change, "node_id")? {
        Some(text) => text
            .parse()
            .map_err(|error| JournalError::Unreadable(format!("{error}")))?,
        None => node.unwrap_or_else(NodeId::random),
    };
    let before = match meta(&change, "epoch")? {
        Some(text) => text
            .parse::<u64>()
            .map_err(|error| JournalError::Unreadable(error.to_string()))?,
        None => 0,
    };
    // A journal that was lost begins anew, but the relay remembers: no epoch may come twice, not even
    // where the last agent began in this second.
    let now = u64::try_from(wall_now().unix_timestamp()).unwrap_or(0);
    let now = if before == 0 && used_before {
        now + 1
    } else {
        now
    };
    let epoch = now.max(before + 1);
    for (key, value) in [("node_id", node.to_string()), ("epoch", epoch.to_string())] {
        change.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
            (key, value),
        )?;
    }
    change.commit()?;
    Ok(Recovered {
        node,
        epoch,
        sessions: sessions(database, "WHERE ended_at IS NULL ORDER BY id", ())?,
        instances: documents(database, "instances")?,
        leases: documents::<LeaseRow>(database, "leases")?,
        lease: noted(database, "lease")?,
        duty: noted(database, "duty")?.unwrap_or_default(),
        damage: None,
    })
}

fn meta(database: &Connection, key: &str) -> Result<Option<String>, JournalError> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    Ok(database
        .query_row(sql, [key], |row| row.get(0))
        .optional()?)
}

fn noted<T: DeserializeOwned>(database: &Connection, key: &str) -> Result<Option<T>, JournalError> {
    let text = meta(database, key)?;
    Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
}

fn documents<T: DeserializeOwned>(
    database: &Connection,
    table: &'static str,
) -> Result<Vec<T>, JournalError> {
    let mut found = database.prepare(&format!("SELECT document FROM {table}"))?;
    let texts = found.query_map((), |row| row.get::<_, String>(0))?;
    texts
        .map(|text| Ok(serde_json::from_str(&text?)?))
        .collect()
}

/// Every instance that is not gone.
pub(super) fn instances(database: &Connection) -> Result<Vec<InstanceRow>, JournalError> {
    documents(database, "instances")
}

/// One session.
pub(super) fn session(
    database: &Connection,
    id: &SessionId,
) -> Result<Option<SessionRow>, JournalError> {
    Ok(sessions(database, "WHERE id = ?1", [id.as_str()])?.pop())
}

/// The sessions that ended last, newest first.
pub(super) fn ended(database: &Connection, limit: u32) -> Result<Vec<SessionRow>, JournalError> {
    let clause = "WHERE ended_at IS NOT NULL ORDER BY id DESC LIMIT ?1";
    sessions(database, clause, [limit])
}

fn sessions(
    database: &Connection,
    clause: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<SessionRow>, JournalError> {
    let mut found = database.prepare_cached(&format!("{SESSION} {clause}"))?;
    let rows = found.query_map(params, |row| Ok((row.get::<_, String>(0)?, sample(row)?)))?;
    rows.map(|row| {
        let (document, sample) = row?;
        let mut session: SessionRow = serde_json::from_str(&document)?;
        session.traffic = session.traffic.max(sample);
        Ok(session)
    })
    .collect()
}

/// Samples are folded into columns of their own: one small write per second and session.
fn sample(row: &Row<'_>) -> rusqlite::Result<Traffic> {
    let count = |at| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
    Ok(Traffic {
        up: count(1)?,
        down: count(2)?,
        cdp_up: count(3)?,
        cdp_down: count(4)?,
        connections: count(5)?,
    })
}
