//! `chaser top`: the sessions of this node and what each takes, again and again.

use std::{
    collections::HashMap,
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{
    node::{Common, connect, refused},
    output,
    table::{Align, Table},
};
use crate::{model::SessionId, wire::node as pb};

const SHORTEST: Duration = Duration::from_millis(100);
/// Home, and everything below away.
const CLEAR: &str = "\x1b[H\x1b[J";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Between two looks; a session's CPU is what it took meanwhile
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    interval: Duration,
    /// End after so many tables [default: never on a terminal, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    common: Common,
}

/// No node is to be kept busy with being looked at.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < SHORTEST {
        return Err("must be at least 100ms".to_owned());
    }
    Ok(interval)
}

/// One session between two looks.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    id: String,
    state: &'static str,
    device: String,
    ip: String,
    up: u64,
    down: u64,
    clients: u64,
    connections: u64,
    /// Percent of one core; `None` at the first sight of it.
    cpu: Option<f64>,
    memory: u64,
    age: Duration,
}

/// What was seen of the sessions' CPU, and when.
type Before = (Instant, HashMap<String, Duration>);

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let terminal = io::stdout().is_terminal();
    let mut left = args.count.or(if terminal { None } else { Some(1) });
    let mut node = connect(&args.common.runtime_dir).await?;
    let request = pb::ListSessionsRequest {
        live_only: true,
        with_usage: true,
    };
    let mut before: Option<Before> = None;
    loop {
        let status = node
            .get_node(pb::GetNodeRequest {})
            .await
            .map_err(refused)?;
        let sessions = node.list_sessions(request).await.map_err(refused)?;
        let (now, sessions) = (Instant::now(), sessions.into_inner().sessions);
        let cpu = sessions
            .iter()
            .map(|session| (session.id.clone(), cpu(session)));
        let seen: Before = (now, cpu.collect());
        // The first look is what the next one is compared with.
        if let Some(before) = before.replace(seen) {
            let mut lines: Vec<_> = (sessions.iter())
                .map(|session| line(session, &before, now, OffsetDateTime::now_utc()))
                .collect();
            lines.sort_by(|a, b| b.cpu.unwrap_or(0.0).total_cmp(&a.cpu.unwrap_or(0.0)));
            show(&status.into_inner(), &lines, args.common.json, terminal)?;
            left = left.map(|left| left - 1);
            if left == Some(0) {
                return Ok(ExitCode::SUCCESS);
            }
        }
        tokio::time::sleep(args.interval).await;
    }
}

fn cpu(session: &pb::Session) -> Duration {
    let cpu = session.usage.as_ref().and_then(|usage| usage.cpu);
    let cpu = cpu.and_then(|cpu| Duration::try_from(cpu).ok());
    cpu.unwrap_or_default()
}

fn line(session: &pb::Session, before: &Before, now: Instant, wall: OffsetDateTime) -> Line {
    let state = match session.phase() {
        pb::Phase::Unspecified => "unknown",
        pb::Phase::Creating => "creating",
        pb::Phase::Ready => "ready",
        pb::Phase::Closing => "closing",
        pb::Phase::Ended => "ended",
    };
    let (then, known) = before;
    let elapsed = now.saturating_duration_since(*then).as_secs_f64();
    let share = |known: &Duration| {
        let took = cpu(session).saturating_sub(*known).as_secs_f64();
        (elapsed > 0.0).then(|| took / elapsed * 100.0)
    };
    let id = session.id.parse::<SessionId>();
    let created = session.created_at.map_or(0, |at| at.seconds);
    let age = wall.unix_timestamp().saturating_sub(created);
    let traffic = session.traffic.unwrap_or_default();
    let usage = session.usage.unwrap_or_default();
    Line {
        id: id.map_or_else(|_not_one| String::new(), |id| id.to_string()),
        state,
        device: session.device.clone(),
        ip: session.egress_ip.clone(),
        up: traffic.up,
        down: traffic.down,
        clients: usage.cdp_clients,
        connections: usage.connections,
        cpu: known.get(&session.id).and_then(share),
        memory: usage.memory_bytes,
        age: Duration::from_secs(u64::try_from(age).unwrap_or(0)),
    }
}

fn show(
    status: &pb::GetNodeResponse,
    lines: &[Line],
    as_json: bool,
    terminal: bool,
) -> anyhow::Result<()> {
    if as_json {
        let sessions: Vec<_> = lines.iter().map(of_line).collect();
        let document = json!({ "max_sessions": status.max_sessions, "sessions": sessions });
        return output::json(&document);
    }
    let mut table = Table::new([
        ("SESSION", Align::Left),
        ("STATE", Align::Left),
        ("DEVICE", Align::Left),
        ("IP", Align::Left),
        ("UP", Align::Right),
        ("DOWN", Align::Right),
        ("CONNS", Align::Right),
        ("CDP", Align::Right),
        ("CPU %", Align::Right),
        ("MEMORY", Align::Right),
        ("AGE", Align::Right),
    ]);
    for line in lines {
        table.row([
            line.id.clone(),
            line.state.to_owned(),
            line.device.clone(),
            line.ip.clone(),
            output::bytes(line.up),
            output::bytes(line.down),
            line.connections.to_string(),
            line.clients.to_string(),
            line.cpu
                .map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.1}")),
            output::bytes(line.memory),
            output::span(line.age),
        ]);
    }
    let head = format!(
        "{} of {} sessions, {} warm; {} of {} memory available\n\n",
        lines.len(),
        status.max_sessions,
        status.pool.iter().map(|of| of.parked).sum::<u32>(),
        output::bytes(status.memory_available_bytes),
        output::bytes(status.memory_total_bytes),
    );
    let clear = if terminal { CLEAR } else { "" };
    output::print(format_args!("{clear}{head}{table}"));
    Ok(())
}

fn of_line(line: &Line) -> Value {
    json!({
        "session": line.id,
        "state": line.state,
        "device": line.device,
        "ip": line.ip,
        "bytes_up": line.up,
        "bytes_down": line.down,
        "cdp_clients": line.clients,
        "connections": line.connections,
        "cpu_percent": line.cpu,
        "memory_bytes": line.memory,
        "age_seconds": line.age.as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn cpu_is_what_was_taken_between_two_looks() {
        let id = SessionId::random();
        let session = |millis| pb::Session {
            id: id.as_str().to_owned(),
            created_at: Some(prost_types::Timestamp {
                seconds: 1_000,
                nanos: 0,
            }),
            usage: Some(pb::Usage {
                memory_bytes: 7,
                cpu: Duration::from_millis(millis).try_into().ok(),
                cdp_clients: 1,
                connections: 5,
            }),
            ..pb::Session::default()
        };
        let then = Instant::now();
        let now = then + Duration::from_secs(2);
        let wall = OffsetDateTime::from_unix_timestamp(1_090).unwrap();
        let known = HashMap::from([(id.as_str().to_owned(), Duration::from_secs(1))]);
        let seen = line(&session(2_500), &(then, known), now, wall);
        assert!((seen.cpu.unwrap() - 75.0).abs() < 1e-6, "{seen:?}");
        assert_eq!((seen.id, seen.age.as_secs()), (id.to_string(), 90));
        assert_eq!((seen.clients, seen.connections), (1, 5));
        let first = line(&session(2_500), &(then, HashMap::new()), now, wall);
        assert_eq!(first.cpu, None);
    }
}
