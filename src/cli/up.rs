//! `chaser up`: flags become the last layer of the configuration.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use ipnet::IpNet;
use toml::Value;

use super::{
    fail::{self, exit_of, fail, sentence},
    settings::{environment, flag, path},
};
use crate::{
    daemon::{
        config::{Config, Sources},
        telemetry, up,
    },
    model::Classify,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file (TOML)
    #[arg(long, env = "CHASER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Journal, records and the operator's key live here
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Sockets and counters live here; should be on tmpfs
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// Where the API listens [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDR")]
    api_listen: Option<SocketAddr>,
    /// Where CDP clients connect [default: 127.0.0.1:7701]
    #[arg(long, value_name = "ADDR")]
    cdp_listen: Option<SocketAddr>,
    /// Where probes and metrics listen [default: 127.0.0.1:7703]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
    /// An API key for the default workspace; better in the file or the environment
    #[arg(
        long,
        env = "CHASER_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    api_key: Vec<String>,
    /// A local address that sessions leave from, one session each
    #[arg(long, value_name = "IP", num_args = 1..)]
    egress_address: Vec<IpAddr>,
    /// Addresses that pages may reach although they are denied by default
    #[arg(long, value_name = "CIDR", num_args = 1..)]
    egress_allow: Vec<IpNet>,
    /// Sessions at once, per workspace and on this host; 0 = no limit but the host's memory
    #[arg(long, value_name = "N")]
    max_sessions: Option<u32>,
    /// Creations per minute and workspace, 0 = no limit
    #[arg(long, value_name = "N")]
    max_creates_per_minute: Option<u32>,
    /// Browsers per profile of `pool.profiles` to keep parked and ready [default: 0]
    #[arg(long, value_name = "N")]
    warm: Option<u32>,
    /// The browser's image
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Drive one session end to end before saying that all is well
    #[arg(long)]
    self_check: bool,
    /// Print nothing on stdout
    #[arg(long)]
    quiet: bool,
    /// End as on SIGTERM when this process, which started us, has ended
    #[arg(long, value_name = "PID", hide = true)]
    end_with_parent: Option<u32>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let options = up::Options {
        self_check: args.self_check,
        quiet: args.quiet,
        parent: args.end_with_parent,
    };
    let sources = args.sources();
    let config = Config::load(&sources).map_err(fail::config)?;
    let telemetry = telemetry::start(&config.log, "chaser");
    let ended = Box::pin(up::run(config, &sources, options)).await;
    telemetry.finish().await;
    ended.map_err(|error| fail(exit_of(error.class()), sentence(&error)))?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn sources(self) -> Sources {
        let text = |value: &dyn ToString| Value::String(value.to_string());
        let list = |values: Vec<String>| {
            (!values.is_empty())
                .then(|| Value::Array(values.into_iter().map(Value::String).collect()))
        };
        let number = |number: Option<u32>| number.map(|number| Value::Integer(number.into()));
        let strings = |values: &[IpAddr]| values.iter().map(ToString::to_string).collect();
        let nets = |values: &[IpNet]| values.iter().map(ToString::to_string).collect();
        let flags = [
            ("--state-dir", "state_dir", path(self.state_dir)),
            ("--runtime-dir", "runtime_dir", path(self.runtime_dir)),
            (
                "--api-listen",
                "api.listen",
                self.api_listen.map(|a| text(&a)),
            ),
            (
                "--cdp-listen",
                "cdp.listen",
                self.cdp_listen.map(|a| text(&a)),
            ),
            (
                "--admin-listen",
                "admin.listen",
                self.admin_listen.map(|a| text(&a)),
            ),
            ("--api-key", "api.keys", list(self.api_key)),
            (
                "--egress-address",
                "egress.addresses",
                list(strings(&self.egress_address)),
            ),
            (
                "--egress-allow",
                "egress.allow",
                list(nets(&self.egress_allow)),
            ),
            (
                "--max-sessions",
                "api.max_concurrent_sessions",
                number(self.max_sessions),
            ),
            (
                "--max-sessions",
                "node.max_sessions",
                number(self.max_sessions),
            ),
            (
                "--max-creates-per-minute",
                "api.max_creates_per_minute",
                number(self.max_creates_per_minute),
            ),
            ("--warm", "pool.warm", number(self.warm)),
            ("--image", "instance.image", self.image.map(Value::String)),
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
