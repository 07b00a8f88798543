//! `chaser node`: the agent itself, unless one of its commands is named.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

use toml::Value;
use tracing::warn;

use super::{
    fail::{self, exit_of, fail, sentence},
    node,
    settings::{environment, flag, path},
};
use crate::{
    daemon::{
        agent,
        config::{Config, Sources},
        telemetry,
    },
    model::Classify,
    runtime::DescriptorStore,
};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<node::Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Configuration file (TOML)
    #[arg(long, env = "CHASER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The journal lives here
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Sockets and counters live here; should be on tmpfs
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// gRPC over TCP beside the socket in the runtime directory
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where CDP clients connect [default: 127.0.0.1:7701]
    #[arg(long, value_name = "ADDR")]
    cdp_listen: Option<SocketAddr>,
    /// Where probes and metrics listen [default: 127.0.0.1:7704]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
}

pub(super) async fn run(args: Args, kept: io::Result<DescriptorStore>) -> anyhow::Result<ExitCode> {
    if let Some(command) = args.command {
        return node::run(command).await;
    }
    let sources = args.run.sources();
    let config = Config::load(&sources).map_err(fail::config)?;
    let telemetry = telemetry::start(&config.log, "chaser-node");
    let kept = kept.unwrap_or_else(|error| {
        warn!(%error, "what systemd kept for this service cannot be read: nothing is kept there");
        DescriptorStore::default()
    });
    let ended = Box::pin(agent::run(config, &sources, kept)).await;
    telemetry.finish().await;
    ended.map_err(|error| fail(exit_of(error.class()), sentence(&error)))?;
    Ok(ExitCode::SUCCESS)
}

impl Run {
    fn sources(self) -> Sources {
        let address = |address: Option<SocketAddr>| address.map(|a| Value::String(a.to_string()));
        let flags = [
            ("--state-dir", "state_dir", path(self.state_dir)),
            ("--runtime-dir", "runtime_dir", path(self.runtime_dir)),
            ("--listen", "node.listen", address(self.listen)),
            ("--cdp-listen", "cdp.listen", address(self.cdp_listen)),
            (
                "--admin-listen",
                "admin.node_listen",
                address(self.admin_listen),
            ),
        ];
        let flags = flags
            .into_iter()
            .filter_map(|(name, key, value)| flag(name, key, value));
        Sources {
            file: self.config,
            environment: environment(),
            flags: flags.collect(),
        }
    }
}
