//! `chaser doctor`: can this host run sessions, and if not, what would mend it.

use std::process::ExitCode;

use super::output;
use crate::{
    daemon::config::Config,
    host::{self, Outcome, Probe, Subject},
    instance::substrate::chromium,
    node,
    profile::Catalogue,
};

/// Flags of `chaser doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub(super) json: bool,
}

/// Examines this host as `config` would use it. Exit code 1 when something failed; warnings are 0.
///
/// # Errors
/// Only what serde says.
pub(super) async fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    let subject = subject(config);
    let probes = host::examine(&subject, |probe| {
        if !args.json {
            output::print(line(probe));
        }
    })
    .await;
    let verdict = host::verdict(&probes);
    let substrates = substrates(config, &probes);
    if args.json {
        output::json(&serde_json::json!({
            "outcome": verdict, "probes": probes, "substrates": substrates,
        }))?;
    } else {
        substrates.iter().for_each(|one| output::print(one.line()));
    }
    Ok(match verdict {
        Outcome::Ok | Outcome::Warning => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::FAILURE,
    })
}

/// What can run here, as a session's order would be answered.
#[derive(Debug, serde::Serialize)]
struct Runs {
    kind: &'static str,
    capacity: u32,
    /// Why that is none; empty where it is some.
    reason: String,
}

impl Runs {
    fn line(&self) -> String {
        let Self {
            kind,
            capacity,
            reason,
        } = self;
        if *capacity > 0 {
            format!("{:<9}{kind:<15}up to {capacity} sessions\n", "runs")
        } else {
            format!("{:<9}{kind:<15}{reason}\n", "none")
        }
    }
}

/// Where something failed, no browser runs either.
fn substrates(config: &Config, probes: &[Probe]) -> Vec<Runs> {
    let failed = probes.iter().find(|one| one.outcome == Outcome::Failed);
    let all = node::substrates(&config.node, &config.instance, &config.substrate);
    all.into_iter()
        .map(|one| {
            let (capacity, reason) = match failed {
                Some(probe) if one.capacity > 0 => (0, format!("{}: {}", probe.name, probe.found)),
                _ => (one.capacity, one.reason),
            };
            Runs {
                kind: one.substrate.as_str(),
                capacity,
                reason,
            }
        })
        .collect()
}

pub(super) fn subject(config: &Config) -> Subject {
    let profile = Catalogue::built_in().default_profile();
    Subject {
        docker: config.node.docker.clone(),
        runtime_dir: config.runtime_dir.clone(),
        state_dir: config.state_dir.clone(),
        relay_user: config.cdp.user.clone(),
        listen: vec![
            ("api", config.api.listen),
            ("cdp", config.cdp.listen),
            ("admin", config.admin.listen),
        ],
        tls: config.tls.clone(),
        privileged: config.substrate.privileged(),
        egress: config.egress.addresses.clone(),
        trial: chromium::container(&config.instance.image, &profile, &config.instance),
        devtools: chromium::DEVTOOLS,
    }
}

fn line(probe: &Probe) -> String {
    let Probe {
        name,
        outcome,
        found,
        mend,
    } = probe;
    let outcome = match outcome {
        Outcome::Ok => "ok",
        Outcome::Warning => "warning",
        Outcome::Failed => "failed",
    };
    let mend = mend
        .as_ref()
        .map_or_else(String::new, |mend| format!("{:24}mend: {mend}\n", ""));
    format!("{outcome:<9}{name:<15}{found}\n{mend}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_found_and_how_to_mend_it() {
        let mut probe = Probe {
            name: "root",
            outcome: Outcome::Ok,
            found: "running as root".to_owned(),
            mend: None,
        };
        assert_eq!(line(&probe), "ok       root           running as root\n");
        probe.outcome = Outcome::Failed;
        probe.mend = Some("run as root".to_owned());
        assert!(line(&probe).ends_with("                        mend: run as root\n"));
    }
}
