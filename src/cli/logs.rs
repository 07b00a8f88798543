//! `chaser logs SESSION`: what relay, agent and browser said of one session, each where it is kept.
//!
//! The relay's log is a file where the agent started it. What are units of systemd's have theirs in its journal,
//! which is asked by the fields of its entries. The browser's is Docker's, and goes with the container.
//!
//! A session may be named as lists and logs print it: the node's socket, which is the operator's, knows the rest.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::ExitCode,
};

use serde_json::json;
use tonic::transport::Channel;

use super::{
    fail::{FAILED, fail},
    journal,
    node::{connect, refused},
    output,
    settings::Place,
};
use crate::{
    daemon::config::Config,
    docker::Docker,
    model::SessionId,
    wire::node::{self as pb, node_service_client::NodeServiceClient},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Session id, or as much of it as is printed elsewhere
    session: String,
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
    let session = whole(&mut node, &args.session).await?;
    let request = pb::InspectSessionRequest {
        session_id: session.as_str().to_owned(),
    };
    let found = node.inspect_session(request).await.map_err(refused)?;
    let instance = found.into_inner().instance_id;
    let names = [printed(&session), instance.clone()];
    let fields = [
        format!("CHASER_SESSION={session}"),
        format!("CHASER_INSTANCE={instance}"),
    ];
    let of_unit = async |unit| {
        let said = journal::of_fields(unit, &fields, args.lines).await;
        said.unwrap_or_default()
    };
    let mut relay = of_file(&config.paths().log(), &names, args.lines);
    if relay.is_empty() {
        relay = of_unit(journal::RELAY).await;
    }
    let all = [
        Said {
            who: "relay",
            lines: relay,
        },
        Said {
            who: "agent",
            lines: of_unit(journal::NODE).await,
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

/// The session that `given` is the id of, or begins the id of only one.
async fn whole(node: &mut NodeServiceClient<Channel>, given: &str) -> anyhow::Result<SessionId> {
    if let Ok(id) = given.parse() {
        return Ok(id);
    }
    let request = pb::ListSessionsRequest {
        live_only: false,
        with_usage: false,
    };
    let known = node.list_sessions(request).await.map_err(refused)?;
    let known = known.into_inner().sessions.into_iter();
    only(known.map(|session| session.id), given).map_err(|why| fail(FAILED, why))
}

fn only(known: impl Iterator<Item = String>, given: &str) -> Result<SessionId, String> {
    let begins = given.trim_end_matches('…');
    let mut found = known
        .filter(|id| id.starts_with(begins))
        .filter_map(|id| id.parse().ok());
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(format!(
            "several sessions begin with `{given}`: say more of it"
        )),
        (None, _) => Err(format!("this node knows no session `{given}`")),
    }
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

    #[test]
    fn a_session_is_found_by_what_is_printed_of_it_unless_that_says_too_little() {
        let ids = [SessionId::random(), SessionId::random()];
        let known = || ids.iter().map(|id| id.as_str().to_owned());
        let found = |given: &str| only(known(), given);
        assert_eq!(found(&ids[1].to_string()).as_ref(), Ok(&ids[1]));
        assert_eq!(found(&printed(&ids[0])).as_ref(), Ok(&ids[0]));
        assert!(found("sess_").unwrap_err().contains("several"));
        assert!(found("nonsense").unwrap_err().contains("no session"));
    }
}
