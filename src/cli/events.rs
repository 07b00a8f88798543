//! `chaser events`: what happens on this node, as it is numbered.

use std::{fmt::Write, process::ExitCode, time::Duration};

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tonic::Code;

use super::{
    node::{Common, connect, refused},
    output,
};
use crate::{
    model::SessionId,
    wire::node::{self as pb, event::What, watch_response::Item},
};

/// A node that went away is dialled again after this long.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Go on with what happens from now on, across restarts of the node
    #[arg(long, short)]
    follow: bool,
    /// Only what came after this number [default: everything that is still held]
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        hide_default_value = true
    )]
    after: u64,
    /// Also the meters of sessions while they move, twice a second: no events, they have no number
    #[arg(long, requires = "follow")]
    meters: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut after = args.after;
    loop {
        match connection(&args, &mut after).await {
            Ok(()) if !args.follow => return Ok(ExitCode::SUCCESS),
            Ok(()) => {}
            // It was there once: it comes back.
            Err(status) if args.follow && is_away(&status) => {}
            Err(status) => return Err(refused(status)),
        }
        tokio::time::sleep(AGAIN).await;
        while connect(&args.common.runtime_dir).await.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn is_away(status: &tonic::Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled
    )
}

/// Prints until the stream ends, or, unless it is followed, until the last event of now.
async fn connection(args: &Args, after: &mut u64) -> Result<(), tonic::Status> {
    let node = connect(&args.common.runtime_dir).await;
    let mut node = node.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let status = node.get_node(pb::GetNodeRequest {}).await?.into_inner();
    let last = status
        .operations
        .map_or(0, |operations| operations.last_event);
    if !args.follow && last <= *after {
        return Ok(());
    }
    let request = pb::WatchRequest {
        after_seq: *after,
        without_meters: !args.meters,
    };
    let mut stream = node.watch(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        match message.item {
            Some(Item::Event(event)) => {
                *after = event.seq;
                print(&event, args.common.json);
            }
            // Another run of the agent, or more than is remembered: go on with what there is.
            Some(Item::Gap(gap)) => {
                *after = gap.oldest_seq.saturating_sub(1);
                tell_gap(args.common.json);
            }
            Some(Item::Meters(meters)) => {
                for meter in &meters.sessions {
                    print_meter(meters.at, meter, args.common.json);
                }
            }
            None => {}
        }
        if !args.follow && *after >= last {
            return Ok(());
        }
    }
    Ok(())
}

fn tell_gap(as_json: bool) {
    if as_json {
        output::line(json!({ "event": "gap" }));
    } else {
        output::line("-- events are missing here: more happened than the node remembers");
    }
}

fn print(event: &pb::Event, as_json: bool) {
    let (kind, data) = described(event);
    let at = moment(event.at);
    if as_json {
        let line = json!({ "seq": event.seq, "at": at, "event": kind, "data": data });
        return output::line(line);
    }
    output::line(written(&at, kind, &data));
}

fn print_meter(at: Option<prost_types::Timestamp>, meter: &pb::SessionMeter, as_json: bool) {
    let (at, data) = (moment(at), of_meter(meter));
    if as_json {
        output::line(json!({ "at": at, "event": "meter", "data": data }));
    } else {
        output::line(written(&at, "meter", &data));
    }
}

fn moment(at: Option<prost_types::Timestamp>) -> String {
    let at = at.unwrap_or_default();
    let nanos = i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos);
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    at.and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

fn written(at: &str, kind: &str, data: &Value) -> String {
    let mut text = format!("{at}  {kind:<14}");
    for (name, value) in data.as_object().into_iter().flatten() {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        if value.is_empty() || value == "null" {
            continue;
        }
        // Writing to a string cannot fail.
        write!(text, "  {name}={value}").ok();
    }
    text
}

/// Whoever reads along must not be able to enter a session.
fn prefix(id: &str) -> String {
    let id = id.parse::<SessionId>();
    id.map_or_else(|_not_one| String::new(), |id| id.to_string())
}

fn described(event: &pb::Event) -> (&'static str, Value) {
    match &event.what {
        None => ("unknown", json!({})),
        Some(What::Session(session)) => ("session", of_session(session)),
        Some(What::SubstrateDown(down)) => {
            let sessions: Vec<_> = down.session_ids.iter().map(|id| prefix(id)).collect();
            let data =
                json!({ "cause": down.cause, "condition": down.condition, "sessions": sessions });
            ("substrate_down", data)
        }
        Some(What::Duty(duty)) => {
            let state = match duty.state() {
                pb::DutyState::Unspecified => "unknown",
                pb::DutyState::On => "in service",
                pb::DutyState::Cordoned => "cordoned",
                pb::DutyState::Draining => "draining",
                pb::DutyState::Drained => "drained",
            };
            ("duty", json!({ "state": state, "sessions": duty.sessions }))
        }
        Some(What::Condition(condition)) => {
            let level = match condition.level() {
                pb::ConditionLevel::Unspecified => "unknown",
                pb::ConditionLevel::Ok => "ok",
                pb::ConditionLevel::Degraded => "degraded",
                pb::ConditionLevel::Critical => "critical",
            };
            let data = json!({ "condition": condition.name, "level": level, "why": condition.why });
            ("condition", data)
        }
        Some(What::Orphan(orphan)) => {
            let data =
                json!({ "container": orphan.container_name, "instance": orphan.instance_id });
            ("orphan", data)
        }
        Some(What::Rerouted(of)) => {
            let data = json!({
                "session": prefix(&of.session_id), "from": of.from, "to": of.to, "cause": of.cause,
            });
            ("rerouted", data)
        }
        Some(What::Slot(slot)) => {
            let data = json!({
                "change": slot.change, "profile": slot.profile, "instance": slot.instance_id, "why": slot.why,
            });
            ("slot", data)
        }
    }
}

fn of_meter(meter: &pb::SessionMeter) -> Value {
    let traffic = meter.traffic.unwrap_or_default();
    json!({
        "session": prefix(&meter.session_id),
        "bytes_up": traffic.up,
        "bytes_down": traffic.down,
        "cdp_bytes_up": traffic.cdp_up,
        "cdp_bytes_down": traffic.cdp_down,
        "connections": traffic.connections,
    })
}

fn of_session(session: &pb::Session) -> Value {
    let phase = match session.phase() {
        pb::Phase::Unspecified => "unknown",
        pb::Phase::Creating => "creating",
        pb::Phase::Ready => "ready",
        pb::Phase::Closing => "closing",
        pb::Phase::Ended => "ended",
    };
    let reason = match session.end_reason() {
        pb::EndReason::Unspecified => "",
        pb::EndReason::ClientDelete => "client_delete",
        pb::EndReason::TtlExpired => "ttl_expired",
        pb::EndReason::IdleExpired => "idle_expired",
        pb::EndReason::AbandonedOrphan => "abandoned_orphan",
        pb::EndReason::SubstrateDown => "substrate_down",
        pb::EndReason::QuotaExceeded => "quota_exceeded",
        pb::EndReason::Error => "error",
    };
    let failure = session
        .failure
        .as_ref()
        .map(|failure| failure.message.clone());
    let profile = session.spec.as_ref().map(|spec| spec.profile.clone());
    json!({
        "session": prefix(&session.id),
        "phase": phase,
        "reason": reason,
        "profile": profile,
        "ip": session.egress_ip,
        "failure": failure,
        "step": session.progress.as_ref().map(|progress| progress.step.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_described_without_a_whole_id() {
        let id = SessionId::random();
        let meter = of_meter(&pb::SessionMeter {
            session_id: id.as_str().to_owned(),
            traffic: None,
        });
        assert_eq!(meter["session"], id.to_string());
        let mut session = pb::Session {
            id: id.as_str().to_owned(),
            ..pb::Session::default()
        };
        session.set_phase(pb::Phase::Ended);
        session.set_end_reason(pb::EndReason::TtlExpired);
        let down = pb::SubstrateDown {
            cause: "gone".to_owned(),
            session_ids: vec![session.id.clone()],
            condition: String::new(),
        };
        for what in [What::Session(session), What::SubstrateDown(down)] {
            let event = pb::Event {
                what: Some(what),
                ..pb::Event::default()
            };
            let (_, data) = described(&event);
            let text = data.to_string();
            assert!(!text.contains(id.as_str()), "{text}");
            assert!(text.contains(&id.to_string()), "{text}");
        }
    }
}
