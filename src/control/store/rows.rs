//! A session record as a row, both ways.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use time::OffsetDateTime;

use super::StoreError;
use crate::{
    control::{Record, Status},
    model::{EndReason, SessionId, Traffic},
};

/// The columns that [`one`] and [`many`] read.
pub(super) const COLUMNS: &str = "id, workspace, profile, ttl_micros, status, reason, device, \
     bytes_up, bytes_down, cdp_up, cdp_down, egress_ip, egress_region, created_at, ready_at, \
     expires_at, ended_at, failure, billable, connections";

/// Writes what can change of a record.
pub(super) fn update(db: &Connection, record: &Record) -> Result<(), StoreError> {
    let failure = record.failure.as_ref().map(serde_json::to_string);
    let failure = failure
        .transpose()
        .map_err(|_not_json| StoreError::Unreadable { what: "failure" })?;
    let reason = match record.status {
        Status::Closed(reason) => Some(reason.as_str()),
        Status::Creating | Status::Ready | Status::Error => None,
    };
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    db.prepare_cached(
        "UPDATE session SET status = :status, reason = :reason, device = :device,
             bytes_up = :up, bytes_down = :down, cdp_up = :cdp_up, cdp_down = :cdp_down,
             connections = :connections,
             egress_ip = :ip, egress_region = :region, ready_at = :ready_at,
             ended_at = :ended_at, failure = :failure, billable = :billable
         WHERE id = :id",
    )?
    .execute(named_params! {
        ":id": record.id.as_str(),
        ":status": record.status.as_str(),
        ":reason": reason,
        ":device": record.device,
        ":up": number(record.traffic.up),
        ":down": number(record.traffic.down),
        ":cdp_up": number(record.traffic.cdp_up),
        ":cdp_down": number(record.traffic.cdp_down),
        ":connections": number(record.traffic.connections),
        ":ip": record.egress_ip,
        ":region": record.egress_region,
        ":ready_at": record.ready_at.map(micros),
        ":ended_at": record.ended_at.map(micros),
        ":failure": failure,
        ":billable": record.billable,
    })?;
    Ok(())
}

pub(super) fn one(db: &Connection, id: &SessionId) -> Result<Option<Record>, StoreError> {
    let mut query = db.prepare_cached(&format!("SELECT {COLUMNS} FROM session WHERE id = ?1"))?;
    let found = query.query_row(params![id.as_str()], |row| Ok(read(row)));
    found.optional()?.transpose()
}

pub(super) fn many(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(read(row)?);
    }
    Ok(records)
}

fn read(row: &Row<'_>) -> Result<Record, StoreError> {
    let unreadable = |what| StoreError::Unreadable { what };
    let text = |name| row.get::<_, String>(name);
    let number = |name| {
        row.get::<_, i64>(name)
            .map(|n| u64::try_from(n).unwrap_or(0))
    };
    let status = match (
        text("status")?.as_str(),
        row.get::<_, Option<String>>("reason")?,
    ) {
        ("creating", _) => Status::Creating,
        ("ready", _) => Status::Ready,
        ("closed", Some(reason)) => Status::Closed(
            reason
                .parse::<EndReason>()
                .map_err(|_unknown| unreadable("reason"))?,
        ),
        ("error", _) => Status::Error,
        _ => return Err(unreadable("status")),
    };
    let failure = (row.get::<_, Option<String>>("failure")?)
        .map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(|_not_a_failure| unreadable("failure"))?;
    Ok(Record {
        id: text("id")?
            .parse()
            .map_err(|_invalid| unreadable("session id"))?,
        workspace: text("workspace")?
            .parse()
            .map_err(|_invalid| unreadable("workspace"))?,
        profile: row.get("profile")?,
        ttl: Duration::from_micros(number("ttl_micros")?),
        status,
        device: row.get("device")?,
        traffic: Traffic {
            up: number("bytes_up")?,
            down: number("bytes_down")?,
            cdp_up: number("cdp_up")?,
            cdp_down: number("cdp_down")?,
            connections: number("connections")?,
        },
        egress_ip: row.get("egress_ip")?,
        egress_region: row.get("egress_region")?,
        created_at: moment(row.get("created_at")?)?,
        ready_at: optional_moment(row.get("ready_at")?)?,
        expires_at: moment(row.get("expires_at")?)?,
        ended_at: optional_moment(row.get("ended_at")?)?,
        failure,
        billable: row.get("billable")?,
    })
}

/// A moment as it is stored.
pub(super) fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// A moment as it was stored.
pub(super) fn moment(micros: i64) -> Result<OffsetDateTime, StoreError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .map_err(|_out_of_range| StoreError::Unreadable { what: "time" })
}

pub(super) fn optional_moment(micros: Option<i64>) -> Result<Option<OffsetDateTime>, StoreError> {
    micros.map(moment).transpose()
}
