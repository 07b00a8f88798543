//! `chaser node …`: this host's node, over its own gRPC socket.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use hyper_util::rt::TokioIo;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{
    drain,
    fail::{FAILED, INTERNAL, UNAVAILABLE, fail},
    output, pool,
    table::{Align, Table},
};
use crate::{
    daemon::config::node_socket,
    wire::node::{self as pb, node_service_client::NodeServiceClient},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// What the node is doing
    Status(Common),
    /// Take no more sessions; those that live go on
    Cordon(Common),
    /// Back in service; calls a drain off
    Uncordon(Common),
    /// Take no more sessions, wait for those that live, end the rest at the deadline
    Drain(drain::Args),
    /// Where a session lives: instance, container, pid, route, relay
    Inspect {
        /// Session id
        session: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Runtime directory of the node
    #[arg(
        long,
        env = "CHASER_RUNTIME_DIR",
        value_name = "DIR",
        default_value = "/run/chaser"
    )]
    pub(super) runtime_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Status(common) => status(&common).await?,
        Command::Cordon(common) => drain::cordon(&common).await?,
        Command::Uncordon(common) => drain::uncordon(&common).await?,
        Command::Drain(args) => drain::run(args).await?,
        Command::Inspect { session, common } => inspect(session, &common).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The node of one runtime directory.
///
/// # Errors
/// When nothing answers there.
pub(super) async fn connect(runtime_dir: &Path) -> anyhow::Result<NodeServiceClient<Channel>> {
    let socket = node_socket(runtime_dir);
    let path = socket.clone();
    let channel = Endpoint::try_from("http://node.invalid")?
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }))
        .await
        .map_err(|_error| {
            fail(
                UNAVAILABLE,
                format!(
                    "no node answers on {}; is `chaser up` running with this --runtime-dir?",
                    socket.display()
                ),
            )
        })?;
    Ok(NodeServiceClient::new(channel))
}

pub(super) fn refused(status: tonic::Status) -> anyhow::Error {
    let code = status.code();
    let exit = if code == tonic::Code::Unavailable {
        UNAVAILABLE
    } else if matches!(code, tonic::Code::Internal | tonic::Code::Unknown) {
        INTERNAL
    } else {
        FAILED
    };
    fail(exit, status.message())
}

async fn inspect(session: String, common: &Common) -> anyhow::Result<()> {
    let request = pb::InspectSessionRequest {
        session_id: session,
    };
    let mut node = connect(&common.runtime_dir).await?;
    let place = node
        .inspect_session(request)
        .await
        .map_err(refused)?
        .into_inner();
    if common.json {
        return output::json(&json!({
            "session": place.session_id,
            "instance": place.instance_id,
            "container": place.container_name,
            "container_id": place.container_id,
            "pid": place.container_pid,
            "route": place.route,
            "relay": place.relay_pid,
            "relay_id": place.relay_id,
        }));
    }
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    for (name, value) in [
        ("session", place.session_id),
        ("instance", place.instance_id),
        ("container", place.container_name),
        ("pid", place.container_pid.to_string()),
        ("route", place.route),
        ("relay", place.relay_pid.to_string()),
    ] {
        table.row([name.to_owned(), value]);
    }
    output::print(table.to_string().trim_start());
    Ok(())
}

async fn status(common: &Common) -> anyhow::Result<()> {
    let mut node = connect(&common.runtime_dir).await?;
    let status = node
        .get_node(pb::GetNodeRequest {})
        .await
        .map_err(refused)?
        .into_inner();
    if common.json {
        return output::json(&status_json(&status));
    }
    show_status(status);
    Ok(())
}

fn state(status: &pb::GetNodeResponse) -> &'static str {
    match status.state() {
        pb::NodeState::Unspecified | pb::NodeState::NotReady => "not ready",
        pb::NodeState::Starting => "starting",
        pb::NodeState::Ready => "ready",
    }
}

fn level(condition: &pb::Condition) -> &'static str {
    match condition.level() {
        pb::ConditionLevel::Unspecified => "unknown",
        pb::ConditionLevel::Ok => "ok",
        pb::ConditionLevel::Degraded => "degraded",
        pb::ConditionLevel::Critical => "critical",
    }
}

fn since(condition: &pb::Condition) -> String {
    let seconds = condition.since.map_or(0, |since| since.seconds);
    let since = OffsetDateTime::from_unix_timestamp(seconds).ok();
    let text = since.and_then(|since| since.format(&Rfc3339).ok());
    text.unwrap_or_default()
}

pub(super) fn status_json(status: &pb::GetNodeResponse) -> serde_json::Value {
    let addresses = status.egress_addresses.iter().map(
        |address| json!({ "ip": address.ip, "usable": address.usable, "sessions": address.sessions }),
    );
    let conditions = status.conditions.iter().map(|condition| {
        json!({
            "name": condition.name,
            "level": level(condition),
            "since": since(condition),
            "why": condition.why,
        })
    });
    let substrates = status.substrates.iter().map(|one| {
        json!({ "kind": substrate(one.substrate), "capacity": one.capacity, "reason": one.reason })
    });
    json!({
        "node": status.node_id,
        "version": status.version,
        "state": state(status),
        "reason": status.state_reason,
        "max_sessions": status.max_sessions,
        "sessions": {
            "creating": status.creating,
            "ready": status.ready,
            "closing": status.closing,
        },
        "destroying": status.destroying,
        "egress_addresses": addresses.collect::<Vec<_>>(),
        "egress_refused": status.egress_refused,
        "journal_damage": status.journal_damage,
        "lease": status.lease.map(|lease| json!({ "epoch": lease.epoch, "suspended": lease.suspended })),
        "admission_stopped": status.admission_stopped,
        "conditions": conditions.collect::<Vec<_>>(),
        "substrates": substrates.collect::<Vec<_>>(),
        "pool": pool::json(&status.pool),
        "relay": status.relay_pid,
        "cdp_address": status.cdp_address,
        "image": status.image,
        "memory_available_bytes": status.memory_available_bytes,
        "memory_total_bytes": status.memory_total_bytes,
    })
}

fn substrate(of: i32) -> String {
    let kind = pb::Substrate::try_from(of).unwrap_or_default();
    let name = kind.as_str_name().trim_start_matches("SUBSTRATE_");
    name.to_lowercase()
}

fn show_status(status: pb::GetNodeResponse) {
    let live = status.creating + status.ready + status.closing;
    let memory = format!(
        "{} available of {}",
        output::bytes(status.memory_available_bytes),
        output::bytes(status.memory_total_bytes)
    );
    let sessions = format!(
        "{live} of {} ({} creating, {} ready, {} closing), {} instances being removed",
        status.max_sessions, status.creating, status.ready, status.closing, status.destroying
    );
    let state = format!("{} {}", state(&status), status.state_reason);
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    for (name, value) in [
        ("node", status.node_id),
        ("state", state.trim_end().to_owned()),
        ("sessions", sessions),
        ("memory", memory),
        ("image", status.image),
        ("relay", format!("pid {}", status.relay_pid)),
        ("cdp", status.cdp_address),
    ] {
        table.row([name.to_owned(), value]);
    }
    if !status.admission_stopped.is_empty() {
        table.row([
            "admission".to_owned(),
            format!("stopped: {}", status.admission_stopped),
        ]);
    }
    output::print(table.to_string().trim_start());
    show_conditions(&status.conditions);
    if !status.pool.is_empty() {
        pool::show(status.pool);
    }
    if status.egress_addresses.is_empty() {
        return;
    }
    let mut addresses = Table::new([
        ("EGRESS ADDRESS", Align::Left),
        ("USABLE", Align::Left),
        ("SESSIONS", Align::Right),
    ]);
    for address in status.egress_addresses {
        let usable = if address.usable { "yes" } else { "no" };
        addresses.row([address.ip, usable.to_owned(), address.sessions.to_string()]);
    }
    output::line("");
    output::print(addresses);
}

fn show_conditions(conditions: &[pb::Condition]) {
    if conditions.is_empty() {
        return;
    }
    let mut table = Table::new([
        ("CONDITION", Align::Left),
        ("LEVEL", Align::Left),
        ("SINCE", Align::Left),
        ("WHY", Align::Left),
    ]);
    for condition in conditions {
        table.row([
            condition.name.clone(),
            level(condition).to_owned(),
            since(condition),
            condition.why.clone(),
        ]);
    }
    output::line("");
    output::print(table);
}
