//! A session as the API shows it.

use serde::Serialize;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::{
    control::{Live, Record, Status, Tokens},
    model::{Capabilities, SessionId},
};

/// RFC 3339, always with microseconds: text of one length that sorts like the time.
const MOMENT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// The public session object.
#[derive(Debug, Serialize)]
pub(super) struct SessionView {
    id: String,
    object: &'static str,
    status: &'static str,
    device: Option<String>,
    cdp_url: String,
    bytes_up: u64,
    bytes_down: u64,
    bytes_total: u64,
    cdp_bytes_up: u64,
    cdp_bytes_down: u64,
    connections: u64,
    proxy_ip: Option<String>,
    proxy_region: Option<String>,
    created_at: String,
    ready_at: Option<String>,
    expires_at: String,
    ended_at: Option<String>,
    ended_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bytes_by_host: Vec<HostView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Capabilities>,
}

#[derive(Debug, Serialize)]
struct ProgressView {
    step: String,
    doing: String,
    since: String,
    limit_seconds: u64,
}

#[derive(Debug, Serialize)]
struct HostView {
    /// `null` for all others together.
    host: Option<String>,
    bytes_up: u64,
    bytes_down: u64,
}

impl SessionView {
    /// And what its node alone knows.
    pub(super) fn with(self, live: Live) -> Self {
        let each = live.hosts.into_iter().map(|of| HostView {
            host: of.host,
            bytes_up: of.up,
            bytes_down: of.down,
        });
        Self {
            bytes_by_host: each.collect(),
            progress: live.progress.map(|of| ProgressView {
                step: of.step,
                doing: of.doing,
                since: moment(of.since),
                limit_seconds: of.limit.as_secs(),
            }),
            capabilities: live.capabilities,
            ..self
        }
    }
}

#[derive(Debug, Serialize)]
struct ErrorView {
    code: String,
    message: String,
}

/// How sessions are shown here.
#[derive(Debug, Clone)]
pub struct Display {
    /// What `cdp_url` starts with: `ws://127.0.0.1:7701`.
    pub cdp_base: String,
    /// Whether bytes of the CDP connection belong to `bytes_total`.
    pub count_cdp_bytes: bool,
    /// What gives each session its token, where ids are not enough.
    pub tokens: Option<Tokens>,
}

impl Display {
    fn cdp_url(&self, id: &SessionId) -> String {
        let token = self.tokens.as_ref().map(|tokens| tokens.of(id));
        let query = token.map_or_else(String::new, |token| format!("?token={token}"));
        format!("{}/sessions/{}{query}", self.cdp_base, id.as_str())
    }

    pub(super) fn session(&self, record: Record) -> SessionView {
        let traffic = record.traffic;
        let beside = if self.count_cdp_bytes {
            traffic.cdp_up.saturating_add(traffic.cdp_down)
        } else {
            0
        };
        let total = traffic.up.saturating_add(traffic.down);
        let (ended_reason, error) = match record.status {
            Status::Creating | Status::Ready => (None, None),
            Status::Closed(reason) => (Some(reason.as_str()), None),
            Status::Error => (
                None,
                record.failure.map(|failure| ErrorView {
                    code: failure.code,
                    message: failure.message,
                }),
            ),
        };
        SessionView {
            cdp_url: self.cdp_url(&record.id),
            id: record.id.into(),
            object: "session",
            status: record.status.as_str(),
            device: record.device,
            bytes_up: traffic.up,
            bytes_down: traffic.down,
            bytes_total: total.saturating_add(beside),
            cdp_bytes_up: traffic.cdp_up,
            cdp_bytes_down: traffic.cdp_down,
            connections: traffic.connections,
            proxy_ip: record.egress_ip,
            proxy_region: record.egress_region,
            created_at: moment(record.created_at),
            ready_at: record.ready_at.map(moment),
            expires_at: moment(record.expires_at),
            ended_at: record.ended_at.map(moment),
            ended_reason,
            error,
            bytes_by_host: Vec::new(),
            progress: None,
            capabilities: None,
        }
    }
}

/// # Panics
/// Never: every moment in UTC can be written this way.
fn moment(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC)
        .format(&MOMENT)
        .expect("years of four digits are all that a record holds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_six_digits_and_end_in_z() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_781_351_360_651_182_000).unwrap();
        assert_eq!(moment(at), "2026-06-13T11:49:20.651182Z");
        assert_eq!(
            moment(OffsetDateTime::UNIX_EPOCH),
            "1970-01-01T00:00:00.000000Z"
        );
    }
}
