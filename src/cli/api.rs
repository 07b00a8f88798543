//! `chaser api`: flags become the last layer of the configuration.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use toml::Value;

use super::{
    fail::{self, exit_of, fail, sentence},
    settings::{environment, flag, path},
};
use crate::{
    daemon::{
        config::{Config, Sources},
        front, telemetry,
    },
    model::Classify,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file (TOML)
    #[arg(long, env = "CHASER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Session records and the operator's key live here
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where the node's socket is
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// Where the API listens [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDR")]
    api_listen: Option<SocketAddr>,
    /// Where probes and metrics listen [default: 127.0.0.1:7703]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let sources = args.sources();
    let config = Config::load(&sources).map_err(fail::config)?;
    let telemetry = telemetry::start(&config.log, "chaser-api");
    let ended = Box::pin(front::run(config, &sources)).await;
    telemetry.finish().await;
    ended.map_err(|error| fail(exit_of(error.class()), sentence(&error)))?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn sources(self) -> Sources {
        let address = |address: Option<SocketAddr>| address.map(|a| Value::String(a.to_string()));
        let flags = [
            ("--state-dir", "state_dir", path(self.state_dir)),
            ("--runtime-dir", "runtime_dir", path(self.runtime_dir)),
            ("--api-listen", "api.listen", address(self.api_listen)),
            ("--admin-listen", "admin.listen", address(self.admin_listen)),
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
