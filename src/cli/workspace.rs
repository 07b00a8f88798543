//! `chaser workspace …`: what the sessions of a workspace may do, straight in the control plane's
//! database like [`super::key`].

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::{
    fail::{CONFIG, FAILED, fail},
    key::Common,
    output,
    table::{Align, Table},
};
use crate::control::{Policy, Workspace, WorkspaceEntry};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List workspaces
    List(Common),
    /// Show one workspace and its policy
    Show {
        /// Its name
        name: Workspace,
        #[command(flatten)]
        common: Common,
    },
    /// Say what its sessions may do, from the next order on; those that live keep what they have
    SetPolicy {
        /// Its name; made when there is none of it
        name: Workspace,
        /// A TOML file with `[limits]`, `[only]` and `[never]`
        #[arg(long, value_name = "FILE", required_unless_present = "none")]
        file: Option<std::path::PathBuf>,
        /// No policy any more
        #[arg(long, conflicts_with = "file")]
        none: bool,
        #[command(flatten)]
        common: Common,
    },
}

pub(super) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(common) => list(&common).await?,
        Command::Show { name, common } => {
            let all = common.store()?.workspaces().await?;
            let found = all.into_iter().find(|one| one.name == name.as_str());
            let Some(found) = found else {
                return Err(fail(FAILED, format!("there is no workspace `{name}`")));
            };
            let policy = toml::to_string(&found.policy)?;
            if common.json {
                output::json(&as_json(&found)?)?;
            } else {
                output::line(format_args!(
                    "{name}: {} keys, {} sessions",
                    found.keys, found.live
                ));
                output::line(policy.trim_end());
            }
        }
        Command::SetPolicy {
            name, file, common, ..
        } => {
            let policy = file.as_deref().map(read).transpose()?.unwrap_or_default();
            common.store()?.set_policy(&name, &policy).await?;
            if common.json {
                output::json(&json!({ "workspace": name.as_str(), "policy": policy }))?;
            } else {
                output::line(format_args!("{name}: for orders from now on"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The policy in a file.
pub(super) fn read(path: &Path) -> anyhow::Result<Policy> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Policy::from_toml(&text).map_err(|error| fail(CONFIG, format!("{}: {error}", path.display())))
}

/// Whether there is one, in a table.
pub(super) fn mark(policy: &Policy) -> &'static str {
    if policy.is_empty() { "-" } else { "set" }
}

fn as_json(of: &WorkspaceEntry) -> anyhow::Result<Value> {
    Ok(json!({
        "name": of.name,
        "created_at": of.created_at.format(&Rfc3339)?,
        "keys": of.keys,
        "sessions": of.live,
        "policy": of.policy,
    }))
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let all = common.store()?.workspaces().await?;
    if common.json {
        let all: Vec<_> = all.iter().map(as_json).collect::<anyhow::Result<_>>()?;
        return output::json(&json!(all));
    }
    let mut table = Table::new([
        ("WORKSPACE", Align::Left),
        ("CREATED", Align::Left),
        ("KEYS", Align::Right),
        ("SESSIONS", Align::Right),
        ("POLICY", Align::Left),
    ]);
    for of in all {
        table.row([
            of.name,
            of.created_at.date().to_string(),
            of.keys.to_string(),
            of.live.to_string(),
            mark(&of.policy).to_owned(),
        ]);
    }
    output::print(table);
    Ok(())
}
