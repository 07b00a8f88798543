//! Changes to the database.

use rusqlite::{Connection, params};
use serde::Serialize;
use time::OffsetDateTime;

use super::{InstanceRow, JournalError, LeaseRow, SessionRow};
use crate::model::{InstanceId, InstancePhase, SessionId, Traffic};

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// The session as it is now, in place of what was known of it.
pub(super) fn session(database: &Connection, row: &SessionRow) -> Result<(), JournalError> {
    let sql = "INSERT OR REPLACE INTO sessions
        (id, phase, ended_at, up, down, cdp_up, cdp_down, connections, document)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    database.prepare_cached(sql)?.execute(params![
        row.id.as_str(),
        row.phase.as_str(),
        row.ending.as_ref().map(|ending| micros(ending.at)),
        signed(row.traffic.up),
        signed(row.traffic.down),
        signed(row.traffic.cdp_up),
        signed(row.traffic.cdp_down),
        signed(row.traffic.connections),
        serde_json::to_string(row)?,
    ])?;
    Ok(())
}

/// One sample of a meter; nothing where the session has ended, because its bytes are final.
pub(super) fn sample(
    database: &Connection,
    id: &SessionId,
    traffic: Traffic,
) -> Result<(), JournalError> {
    let sql = "UPDATE sessions SET up = ?2, down = ?3, cdp_up = ?4, cdp_down = ?5,
        connections = ?6 WHERE id = ?1 AND ended_at IS NULL";
    database.prepare_cached(sql)?.execute(params![
        id.as_str(),
        signed(traffic.up),
        signed(traffic.down),
        signed(traffic.cdp_up),
        signed(traffic.cdp_down),
        signed(traffic.connections),
    ])?;
    Ok(())
}

/// Something of the node itself, in place of what was noted under the key.
pub(super) fn note<T: Serialize>(
    database: &Connection,
    key: &'static str,
    value: &T,
) -> Result<(), JournalError> {
    let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
    database.execute(sql, (key, serde_json::to_string(value)?))?;
    Ok(())
}

/// The instance as it is now.
pub(super) fn instance(database: &Connection, row: &InstanceRow) -> Result<(), JournalError> {
    let sql = "INSERT OR REPLACE INTO instances (id, document) VALUES (?1, ?2)";
    let document = serde_json::to_string(row)?;
    database
        .prepare_cached(sql)?
        .execute((row.id.to_string(), document))?;
    Ok(())
}

/// A parked instance is a session's from now on; nothing where there is no such row (any more).
pub(super) fn claim(database: &Connection, id: InstanceId) -> Result<(), JournalError> {
    let sql = "UPDATE instances SET document = json_set(document, '$.phase', ?2) WHERE id = ?1";
    let bound = serde_json::to_value(InstancePhase::Bound)?;
    database
        .prepare_cached(sql)?
        .execute((id.to_string(), bound.as_str()))?;
    Ok(())
}

/// Nothing of the instance is left.
pub(super) fn instance_gone(database: &Connection, id: InstanceId) -> Result<(), JournalError> {
    database
        .prepare_cached("DELETE FROM instances WHERE id = ?1")?
        .execute([id.to_string()])?;
    Ok(())
}

/// An address is held, or rests.
pub(super) fn lease(database: &Connection, row: &LeaseRow) -> Result<(), JournalError> {
    let sql = "INSERT OR REPLACE INTO leases (instance, document) VALUES (?1, ?2)";
    let document = serde_json::to_string(row)?;
    database
        .prepare_cached(sql)?
        .execute((row.instance.to_string(), document))?;
    Ok(())
}

/// An address has rested enough.
pub(super) fn lease_over(database: &Connection, instance: InstanceId) -> Result<(), JournalError> {
    database
        .prepare_cached("DELETE FROM leases WHERE instance = ?1")?
        .execute([instance.to_string()])?;
    Ok(())
}

/// Forgets at most `limit` sessions that ended before `before`; answers how many.
pub(super) fn prune(
    database: &Connection,
    before: OffsetDateTime,
    limit: u32,
) -> Result<usize, JournalError> {
    let sql = "DELETE FROM sessions WHERE id IN
        (SELECT id FROM sessions WHERE ended_at < ?1 ORDER BY ended_at LIMIT ?2)";
    Ok(database.execute(sql, params![micros(before), limit])?)
}
