//! What systemd's journal has of our units, through `journalctl`: whoever may not read it gets nothing.

use anyhow::{Context, ensure};
use tokio::process::Command;

/// Where the agent is.
pub(super) const NODE: &str = "chaser-node.service";
/// Where the relay is.
pub(super) const RELAY: &str = "chaser-relay.service";
/// Where the session API is.
const API: &str = "chaser-api.service";

/// The last entries of `unit` that have any of these fields, each `NAME=value`.
///
/// # Errors
/// There is no journal, or it cannot be read.
pub(super) async fn of_fields(
    unit: &str,
    fields: &[String],
    most: u32,
) -> anyhow::Result<Vec<String>> {
    let mut matches = Vec::new();
    for field in fields {
        if !matches.is_empty() {
            matches.push("+".to_owned());
        }
        matches.extend([format!("_SYSTEMD_UNIT={unit}"), field.clone()]);
    }
    entries(&matches, most).await
}

/// The last entries of all our units.
///
/// # Errors
/// There is no journal, it cannot be read, or it has nothing of them.
pub(super) async fn of_all(most: u32) -> anyhow::Result<String> {
    let units = [NODE, RELAY, API].map(|unit| format!("--unit={unit}"));
    let lines = entries(&units, most).await?;
    ensure!(
        !lines.is_empty(),
        "systemd's journal has nothing of our units"
    );
    Ok(lines.join("\n") + "\n")
}

async fn entries(which: &[String], most: u32) -> anyhow::Result<Vec<String>> {
    let output = Command::new("journalctl")
        .args(["--no-pager", "--quiet", "--output=short-iso"])
        .arg(format!("--lines={most}"))
        .args(which)
        .kill_on_drop(true)
        .output()
        .await
        .context("journalctl cannot be run")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "journalctl failed: {}",
        said.trim()
    );
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}
