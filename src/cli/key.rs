//! `chaser key …`: API keys, straight in the control plane's database (WAL: while it runs, too).

use std::{path::PathBuf, process::ExitCode};

use serde_json::json;
use time::format_description::well_known::Rfc3339;

use super::{
    fail::{FAILED, fail},
    output,
    table::{Align, Table},
};
use crate::control::{ApiKey, Store, Workspace};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key; it is shown this once
    Create {
        /// The workspace that it opens; made when there is none of this name
        #[arg(long, value_name = "NAME")]
        workspace: Option<Workspace>,
        /// What its sessions may do beside what the workspace says: a TOML file as for
        /// `chaser workspace set-policy`
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// List keys
    List(Common),
    /// Revoke the keys that begin like this
    Revoke {
        /// The beginning of the key, as `list` shows it
        prefix: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// State directory of the API
    #[arg(
        long,
        env = "CHASER_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/chaser"
    )]
    state_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Common {
    pub(super) fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(&self.state_dir.join("control.db"))?)
    }
}

pub(super) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create {
            workspace,
            policy,
            common,
        } => {
            let policy = policy.as_deref().map(super::workspace::read).transpose()?;
            let policy = policy.unwrap_or_default();
            let workspace = workspace.unwrap_or_else(Workspace::standard);
            let key = ApiKey::random();
            common.store()?.add_key(&key, &workspace, &policy).await?;
            if common.json {
                output::json(&json!({ "key": key.expose(), "workspace": workspace.as_str() }))?;
            } else {
                output::line(key.expose());
            }
        }
        Command::List(common) => list(&common).await?,
        Command::Revoke { prefix, common } => {
            let revoked = common.store()?.revoke_keys(&prefix).await?;
            if revoked == 0 {
                return Err(fail(FAILED, format!("no key begins with `{prefix}`")));
            }
            if common.json {
                output::json(&json!({ "revoked": revoked }))?;
            } else {
                output::line(format_args!("revoked {revoked}"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let keys = common.store()?.keys().await?;
    if common.json {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| {
                Ok(json!({
                    "prefix": key.prefix,
                    "workspace": key.workspace,
                    "created_at": key.created_at.format(&Rfc3339)?,
                    "revoked": key.revoked_at.is_some(),
                    "policy": key.policy,
                }))
            })
            .collect::<anyhow::Result<_>>()?;
        return output::json(&keys);
    }
    let mut table = Table::new([
        ("KEY", Align::Left),
        ("WORKSPACE", Align::Left),
        ("CREATED", Align::Left),
        ("STATE", Align::Left),
        ("POLICY", Align::Left),
    ]);
    for key in keys {
        let state = if key.revoked_at.is_some() {
            "revoked"
        } else {
            "valid"
        };
        table.row([
            format!("{}…", key.prefix),
            key.workspace,
            key.created_at.date().to_string(),
            state.to_owned(),
            super::workspace::mark(&key.policy).to_owned(),
        ]);
    }
    output::print(table);
    Ok(())
}
