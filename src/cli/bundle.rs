//! `chaser support-bundle`: what somebody who is to help needs to see, without what would let them in.
//!
//! One folder of plain files, each redacted as it is written, so that an operator can read what is sent.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use serde_json::json;
use time::{OffsetDateTime, macros::format_description};

use super::{
    doctor, journal,
    node::{connect, status_json},
    output,
    redact::redact,
    settings::Place,
};
use crate::{daemon::config::Config, host, wire::node as pb};

/// As much of a log as is taken: its end.
const LOG: u64 = 4 << 20;
/// As many entries of the journal.
const ENTRIES: u32 = 20_000;
/// An admin port that is silent for longer has nothing to add.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to make [default: chaser-support-<time> here]
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// A folder that is filled; remembers what could not be had.
struct Bundle {
    folder: PathBuf,
    missing: Vec<String>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let given = args.place.file().map(Path::to_owned);
    let config = args.place.load()?;
    let name = format_description!("chaser-support-[year][month][day]T[hour][minute][second]Z");
    let default = || OffsetDateTime::now_utc().format(name).map(PathBuf::from);
    let folder = args.output.map_or_else(default, Ok)?;
    // Only its owner reads it: redacted is not public.
    let made = DirBuilder::new().mode(0o700).create(&folder);
    made.with_context(|| format!("{} cannot be made", folder.display()))?;
    let mut bundle = Bundle {
        folder,
        missing: Vec::new(),
    };
    bundle.add(
        "version.txt",
        Ok(concat!("chaser ", env!("CARGO_PKG_VERSION"), "\n").to_owned()),
    )?;
    let (node, sessions) = node_and_sessions(&config).await;
    bundle.add("node.json", node)?;
    bundle.add("sessions.json", sessions)?;
    bundle.add("metrics.txt", metrics(&config).await)?;
    if let Some(file) = given {
        let text = fs::read_to_string(&file).map_err(anyhow::Error::from);
        bundle.add("chaser.toml", text)?;
    }
    // A relay has either: the one where an agent started it, the other where it is a unit.
    let (file, journal) = (config.paths().log(), journal::of_all(ENTRIES).await);
    if file.exists() || journal.is_err() {
        bundle.add("relay.log", end_of(&file))?;
    }
    if journal.is_ok() || !file.exists() {
        bundle.add("journal.txt", journal)?;
    }
    let probes = host::examine(&doctor::subject(&config), |_probe| {}).await;
    bundle.add(
        "doctor.json",
        serde_json::to_string_pretty(&probes).map_err(Into::into),
    )?;
    for file in [
        "/proc/meminfo",
        "/proc/loadavg",
        "/proc/version",
        "/etc/os-release",
    ] {
        let name = Path::new(file).file_name().unwrap_or_default();
        let text = fs::read_to_string(file).map_err(anyhow::Error::from);
        bundle.add(&format!("host-{}.txt", name.to_string_lossy()), text)?;
    }
    output::line(format_args!(
        "{} is ready: read it, then send it (`tar czf {0}.tgz {0}`)",
        bundle.folder.display()
    ));
    for missing in &bundle.missing {
        output::line(format_args!("  without {missing}"));
    }
    Ok(ExitCode::SUCCESS)
}

impl Bundle {
    /// Writes one file, redacted; what could not be had is said and left out.
    fn add(&mut self, name: &str, text: anyhow::Result<String>) -> anyhow::Result<()> {
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                self.missing.push(redact(&format!("{name}: {error:#}")));
                return Ok(());
            }
        };
        let path = self.folder.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let written = file.and_then(|mut file| file.write_all(redact(&text).as_bytes()));
        written.with_context(|| format!("{} cannot be written", path.display()))
    }
}

async fn node_and_sessions(config: &Config) -> (anyhow::Result<String>, anyhow::Result<String>) {
    let mut node = match connect(&config.runtime_dir).await {
        Ok(node) => node,
        Err(error) => {
            let same = anyhow::anyhow!("{error}");
            return (Err(error), Err(same));
        }
    };
    let status = node.get_node(pb::GetNodeRequest {}).await;
    let status = status.map_err(anyhow::Error::from);
    let status = status.and_then(|status| {
        Ok(serde_json::to_string_pretty(&status_json(
            &status.into_inner(),
        ))?)
    });
    let request = pb::ListSessionsRequest {
        live_only: false,
        with_usage: true,
    };
    let sessions = node.list_sessions(request).await;
    let sessions = sessions.map_err(anyhow::Error::from);
    let sessions = sessions.and_then(|list| {
        let list = list.into_inner().sessions;
        let list: Vec<_> = list.iter().map(of_session).collect();
        Ok(serde_json::to_string_pretty(&list)?)
    });
    (status, sessions)
}

/// What is known of a session but for its labels, which are the customer's.
fn of_session(session: &pb::Session) -> serde_json::Value {
    let failure = session.failure.as_ref();
    let usage = session.usage.unwrap_or_default();
    json!({
        "id": session.id,
        "phase": session.phase().as_str_name(),
        "reason": session.end_reason().as_str_name(),
        "device": session.device,
        "browser": session.browser_version,
        "failure": failure.map(|failure| json!({
            "code": failure.code, "message": failure.message, "blame": failure.blame().as_str_name(),
        })),
        "memory_bytes": usage.memory_bytes,
        "cdp_clients": usage.cdp_clients,
        "connections": usage.connections,
    })
}

async fn metrics(config: &Config) -> anyhow::Result<String> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()?;
    // The first is that of `chaser up` and `chaser api`, the other that of `chaser node`.
    let ask = |admin: SocketAddr| http.get(format!("http://{admin}/metrics")).send();
    let answer = match ask(config.admin.listen).await {
        Ok(answer) => answer,
        Err(_nobody) => ask(config.admin.node_listen).await?,
    };
    Ok(answer.text().await?)
}

fn end_of(path: &Path) -> anyhow::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
