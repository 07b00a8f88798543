//! `chaser node cordon|uncordon|drain`: out of service and back, with what is left in sight.

use std::{error::Error, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use sd_notify::NotifyState;
use serde_json::json;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::{
    fail::{CONFIG, FAILED, fail},
    node::{Common, connect, refused},
    output,
};
use crate::{
    runtime::systemd,
    wire::node::{self as pb, node_service_client::NodeServiceClient},
};

const LOOK: Duration = Duration::from_millis(300);
/// A stop that a drain is part of may take this much longer from each look on.
const MORE: Duration = Duration::from_secs(30);
/// How long a node may be away while it is followed: longer than a restart or an upgrade takes.
const RESTART: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End what still lives after this long, such as 5m; 0s at once [default: node.drain_deadline]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    deadline: Option<Duration>,
    /// Of this start alone: the node is in service again when it is started again, as after a reboot
    #[arg(long)]
    until_restart: bool,
    /// Wait until nothing lives, which is the default: for a unit's ExecStop or a lifecycle hook
    #[arg(long)]
    wait: bool,
    /// Order it and do not wait
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn cordon(common: &Common) -> anyhow::Result<()> {
    let mut node = connect(&common.runtime_dir).await?;
    let answer = node.cordon(pb::CordonRequest {}).await.map_err(refused)?;
    say(common, &answer.into_inner().duty.unwrap_or_default())
}

pub(super) async fn uncordon(common: &Common) -> anyhow::Result<()> {
    let mut node = connect(&common.runtime_dir).await?;
    let answer = node.uncordon(pb::UncordonRequest {}).await;
    let answer = answer.map_err(refused)?;
    say(common, &answer.into_inner().duty.unwrap_or_default())
}

/// Orders a drain and follows it to its end; leaving earlier leaves it going.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let deadline = args.deadline.map(prost_types::Duration::try_from);
    let deadline = deadline
        .transpose()
        .map_err(|_endless| fail(CONFIG, "flag --deadline: longer than can be said"))?;
    let mut node = connect(&args.common.runtime_dir).await?;
    let request = pb::DrainRequest {
        deadline,
        until_restart: args.until_restart,
    };
    let answer = node.drain(request).await;
    let mut duty = answer.map_err(refused)?.into_inner().duty;
    if args.wait || !args.no_wait {
        duty = follow(&mut node, duty).await?;
    }
    say(&args.common, &duty.unwrap_or_default())
}

async fn follow(
    node: &mut NodeServiceClient<Channel>,
    mut duty: Option<pb::Duty>,
) -> anyhow::Result<Option<pb::Duty>> {
    let mut silent: Option<Instant> = None;
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    loop {
        let now = duty.unwrap_or_default();
        match now.state() {
            pb::DutyState::Drained => break,
            pb::DutyState::Draining => {
                let said = progress(&now);
                systemd::extend_timeout(MORE);
                systemd::notify(&[NotifyState::Status(&said)]);
                bar.set_message(said);
            }
            pb::DutyState::Unspecified | pb::DutyState::On | pb::DutyState::Cordoned => {
                bar.finish_and_clear();
                let said = "the drain was called off by an uncordon";
                return Err(fail(FAILED, said));
            }
        }
        bar.tick();
        tokio::time::sleep(LOOK).await;
        match node.get_node(pb::GetNodeRequest {}).await {
            Ok(status) => {
                // A node that starts does not know yet; the drain is in its journal.
                duty = status.into_inner().duty.or(duty);
                silent = None;
            }
            Err(status) if is_away(&status) => {
                let since = *silent.get_or_insert_with(Instant::now);
                if since.elapsed() > RESTART {
                    return Err(refused(status));
                }
                bar.set_message("the node does not answer; the drain goes on when it is back");
            }
            Err(status) => return Err(refused(status)),
        }
    }
    bar.finish_and_clear();
    Ok(duty)
}

/// Whether nobody answered, or somebody who only starts: what broke on the way has a source.
fn is_away(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::Unavailable || status.source().is_some()
}

fn progress(duty: &pb::Duty) -> String {
    let left = duty.deadline.map_or(0, |at| {
        at.seconds - time::OffsetDateTime::now_utc().unix_timestamp()
    });
    let rest = if left > 0 {
        format!("what is left ends in {left} s")
    } else {
        "what is left is being ended".to_owned()
    };
    format!(
        "{} sessions live; {rest}; `chaser node uncordon` calls it off",
        duty.sessions
    )
}

const fn word(duty: &pb::Duty) -> &'static str {
    match duty.state {
        2 => "cordoned",
        3 => "draining",
        4 => "drained",
        _ => "in service",
    }
}

fn say(common: &Common, duty: &pb::Duty) -> anyhow::Result<()> {
    if common.json {
        return output::json(&json!({ "duty": word(duty), "sessions": duty.sessions }));
    }
    let (word, sessions) = (word(duty), duty.sessions);
    output::line(format!("the node is {word}; {sessions} sessions live"));
    Ok(())
}
