//! `chaser doctor`: can this host run sessions, and if not, what would mend it.

use std::process::ExitCode;

use super::output;
use crate::{
    daemon::config::Config,
    host::{self, Outcome, Probe, Subject},
    instance::substrate::chromium,
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
    if args.json {
        output::json(&serde_json::json!({ "outcome": verdict, "probes": probes }))?;
    }
    Ok(match verdict {
        Outcome::Ok | Outcome::Warning => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::FAILURE,
    })
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
