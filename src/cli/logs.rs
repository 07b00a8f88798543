//! `chaser logs SESSION`: what relay, agent and browser said of one session, each where it is kept.
//!
//! The relay's log is a file. The agent's is wherever its standard error goes: the journal is asked where
//! systemd has one. The browser's is Docker's, and goes with the container.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::ExitCode,
};

use serde_json::json;

use super::{
    node::{connect, refused},
    output,
    settings::Place,
};
use crate::{daemon::config::Config, docker::Docker, model::SessionId, wire::node as pb};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Session id
    session: SessionId,
    /// How many lines of each, at most
    #[arg(long, short = 'n', value_name = "N", default_value_t = 200)]
    lines: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Lines of one log.
struct Said {
    who: &'static str,
    lines: Vec<String>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.place.load()?;
    let mut node = connect(&config.runtime_dir).await?;
    let request = pb::InspectSessionRequest {
        session_id: args.session.as_str().to_owned(),
    };
    let found = node.inspect_session(request).await.map_err(refused)?;
    let instance = found.into_inner().instance_id;
    let names = [printed(&args.session), instance.clone()];
    let all = [
        Said {
            who: "relay",
            lines: of_file(&config.paths().log(), &names, args.lines),
        },
        Said {
            who: "agent",
            lines: of_journal(&names, args.lines).await,
        },
        Said {
            who: "browser",
            lines: of_container(&config, &instance, args.lines).await,
        },
    ];
    if args.json {
        let all = all
            .iter()
            .map(|said| (said.who.to_owned(), json!(said.lines)));
        output::json(&all.collect::<serde_json::Map<_, _>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    for said in all {
        for line in said.lines {
            output::line(format_args!("{:<8} {line}", said.who));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A session as logs name it.
fn printed(session: &SessionId) -> String {
    session.to_string().trim_end_matches('…').to_owned()
}

/// The last lines of a file that name one of these; none of a file that cannot be read.
fn of_file(path: &Path, names: &[String], most: u32) -> Vec<String> {
    let Ok(file) = File::open(path) else {
        return Vec::new();
    };
    last(
        BufReader::new(file).lines().map_while(Result::ok),
        names,
        most,
    )
}

fn last(lines: impl Iterator<Item = String>, names: &[String], most: u32) -> Vec<String> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut kept = VecDeque::new();
    for line in lines.filter(|line| names.iter().any(|name| line.contains(name))) {
        kept.push_back(line);
        if kept.len() > most {
            kept.pop_front();
        }
    }
    kept.into()
}

/// What systemd kept of our units; none where there is no journal.
async fn of_journal(names: &[String], most: u32) -> Vec<String> {
    let run = tokio::process::Command::new("journalctl")
        .args([
            "--no-pager",
            "--quiet",
            "--output=short-iso",
            "--unit=chaser-node.service",
        ])
        .output();
    let Ok(output) = run.await else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    last(text.lines().map(str::to_owned), names, most)
}

async fn of_container(config: &Config, instance: &str, most: u32) -> Vec<String> {
    let Ok(docker) = Docker::connect(&config.node.docker).await else {
        return Vec::new();
    };
    // A container that is gone has taken its log along.
    let logs = docker.logs(&format!("chaser-{instance}"), most).await;
    logs.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_that_name_the_session_or_its_instance() {
        let lines = ["a one", "b two", "c one", "d one", "e three"].map(str::to_owned);
        let names = ["one".to_owned(), "three".to_owned()];
        let kept = |most| last(lines.clone().into_iter(), &names, most);
        assert_eq!(kept(9), ["a one", "c one", "d one", "e three"]);
        assert_eq!(kept(2), ["d one", "e three"]);
    }
}
