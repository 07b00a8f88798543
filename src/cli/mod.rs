//! The operator's commands: parse, do one thing, print it for a person or (`--json`) a program.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 64 configuration, 69 something needed is unreachable,
//! 70 a bug or a broken host. Results go to stdout; one sentence about what went wrong, and what to do
//! about it, to stderr.

mod agent;
mod api;
mod bench;
mod bundle;
mod cert;
mod doctor;
mod drain;
mod events;
mod fail;
mod image;
mod journal;
mod key;
mod logs;
mod node;
mod output;
mod pool;
mod profile;
mod redact;
mod rest;
mod route;
mod session;
mod settings;
mod shell;
mod table;
mod top;
mod up;
mod workspace;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

use self::settings::Place;
use crate::{daemon, relay::server::Options, runtime::DescriptorStore};

/// Runs real browsers for other people's automation, each behind its own egress address.
#[derive(Debug, Parser)]
#[command(
    name = "chaser",
    version,
    max_term_width = 100,
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: node, API and data plane, in the foreground
    Up(Box<up::Args>),
    /// Create, list, watch and delete sessions
    #[command(subcommand)]
    Session(session::Command),
    /// Run the session API alone, in front of this host's node
    Api(api::Args),
    /// Run this host's agent alone, or look at it
    Node(Box<agent::Args>),
    /// The sessions of this host and what each takes, again and again
    Top(top::Args),
    /// What happens on this host: sessions, conditions, the warm pool, drains
    Events(events::Args),
    /// What relay, agent and browser said of one session
    Logs(logs::Args),
    /// Gather what somebody who helps needs to see, without secrets
    SupportBundle(bundle::Args),
    /// Check that this host can run sessions, with a mend for what it lacks
    Doctor {
        #[command(flatten)]
        args: doctor::Args,
        #[command(flatten)]
        place: Place,
    },
    /// Build and list browser images
    Image {
        #[command(flatten)]
        args: image::Args,
        #[command(flatten)]
        place: Place,
    },
    /// List, show and check device profiles
    Profile {
        #[command(flatten)]
        args: profile::Args,
        #[command(flatten)]
        place: Place,
    },
    /// List, check, add, drain and reload egress routes
    #[command(subcommand)]
    Route(route::Command),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Key(key::Command),
    /// List workspaces, and say what their sessions may do
    #[command(subcommand)]
    Workspace(workspace::Command),
    /// Make a development authority, and certificates of it
    #[command(subcommand)]
    Cert(cert::Command),
    /// Measure this host: each figure next to its baseline from the same run
    #[command(subcommand)]
    Bench(bench::Command),
    /// The data plane alone: started by the agent, or by a service manager
    Relay(RelayArgs),
    /// Print completions for a shell
    Completions(shell::Completions),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(shell::Man),
}

#[derive(Debug, clap::Args)]
struct RelayArgs {
    /// Sockets and counters live here
    #[arg(long, value_name = "DIR")]
    runtime_dir: PathBuf,
    /// Where CDP clients connect, unless standard input is a listening socket
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7701")]
    cdp_listen: SocketAddr,
    /// The user to become when started as root
    #[arg(long, value_name = "NAME", default_value = "chaser-relay")]
    user: String,
    /// Stay although nobody needs it; for a service manager that would only start it again
    #[arg(long)]
    stay: bool,
}

/// Parses the command line, runs the command, says what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => fail::report(&error),
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Relay(args) => {
            let options = Options {
                runtime_dir: args.runtime_dir,
                cdp_listen: args.cdp_listen,
                user: args.user,
                stay: args.stay,
            };
            daemon::relay::run(&options).map_err(fail::relay)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions(args) => shell::completions(&args, &mut Cli::command()),
        Command::Man(args) => shell::man(&args, Cli::command()),
        Command::Cert(command) => cert::run(command),
        Command::Up(args) => on_runtime(up::run(*args)),
        Command::Session(command) => on_runtime(session::run(command)),
        Command::Api(args) => on_runtime(api::run(args)),
        Command::Node(args) => {
            let kept = DescriptorStore::of_this_service();
            on_runtime(agent::run(*args, kept))
        }
        Command::Top(args) => on_runtime(top::run(args)),
        Command::Events(args) => on_runtime(events::run(args)),
        Command::Logs(args) => on_runtime(logs::run(args)),
        Command::SupportBundle(args) => on_runtime(bundle::run(args)),
        Command::Doctor { args, place } => on_runtime(doctor::run(&args, &place.load()?)),
        Command::Image { args, place } => on_runtime(image::run(&args, &place.load()?)),
        Command::Profile { args, place } => on_runtime(profile::run(args, place)),
        Command::Bench(command) => on_runtime(bench::run(command)),
        Command::Route(command) => on_runtime(route::run(command)),
        Command::Key(command) => on_runtime(key::run(command)),
        Command::Workspace(command) => on_runtime(workspace::run(command)),
    }
}

fn on_runtime(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("chaser")
        .build()?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
