//! Notice that the host is about to be taken away, turned into a drain that is over in time.
//!
//! | `notice.source` | what is watched |
//! |---|---|
//! | `aws` | the metadata service (IMDSv2): `spot/instance-action`, and an auto scaling group's `target-lifecycle-state` |
//! | `gcp` | the metadata server: `instance/preempted` |
//! | `azure` | the metadata service: `scheduledevents` that preempt, terminate, redeploy or reboot this machine |
//! | `file` | `notice.path`: once it exists, with a moment (RFC 3339) or a span (`90s`) in it, or empty |
//! | `exec` | `notice.path`, run again and again: exit code 0 is a notice, its output as in the file |
//!
//! A notice without a moment leaves what the cloud documents, or `node.drain_deadline`. The drain is over
//! `notice.margin` before the end. One notice is one drain: an `uncordon` afterwards stands until another
//! moment is told, and so does a restart: who is there then is asked again. A metadata service that does not answer is asked again and said once.

mod cloud;

use std::{io, path::Path, process::Stdio, time::Duration};

use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::cloud::{Aws, Azure, Gcp};
use super::{Node, web::Web};
use crate::runtime::wall_now;

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Nobody.
    #[default]
    None,
    /// Amazon EC2.
    Aws,
    /// Google Compute Engine.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// A file.
    File,
    /// A program.
    Exec,
}

/// `[notice]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who tells.
    pub source: Source,
    /// The file or the program.
    pub path: String,
    /// How often it is looked for.
    #[serde(with = "crate::model::duration")]
    pub interval: Duration,
    /// How long before the end a drain is over.
    #[serde(with = "crate::model::duration")]
    pub margin: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: Source::None,
            path: String::new(),
            interval: Duration::from_secs(2),
            margin: Duration::from_secs(10),
        }
    }
}

/// The host is about to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    /// What was told, for people.
    what: String,
    ends: Ends,
}

/// When it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    At(OffsetDateTime),
    /// So long after the notice was first seen.
    In(Duration),
    /// Nobody says.
    Unknown,
}

impl Ends {
    /// How long a drain may take from now on; `None` for the configured time.
    fn left(self, now: OffsetDateTime, margin: Duration) -> Option<Duration> {
        let left = match self {
            Self::At(at) => Duration::try_from(at - now).unwrap_or_default(),
            Self::In(span) => span,
            Self::Unknown => return None,
        };
        Some(left.saturating_sub(margin))
    }

    /// What a file or a program says: a moment, a span, or nothing.
    fn said(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::Unknown);
        }
        if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self::At(at));
        }
        let span = humantime::parse_duration(text);
        span.map(Self::In).map_err(|_neither| {
            format!("`{text}` is neither a moment (RFC 3339) nor a span such as `90s`")
        })
    }
}

enum Watcher {
    Aws(Aws),
    Gcp(Gcp),
    Azure(Azure),
    File(String),
    Exec(String),
}

impl Watcher {
    /// `Ok(None)`: nothing is about to happen. `Err` is a sentence.
    async fn look(&mut self) -> Result<Option<Notice>, String> {
        match self {
            Self::Aws(aws) => aws.look().await,
            Self::Gcp(gcp) => gcp.look().await,
            Self::Azure(azure) => azure.look().await,
            Self::File(path) => match tokio::fs::read_to_string(Path::new(path)).await {
                Ok(text) => said(&format!("the file {path}"), &text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(format!("{path} cannot be read: {error}")),
            },
            Self::Exec(program) => {
                let run = tokio::process::Command::new(&program)
                    .stdin(Stdio::null())
                    .stderr(Stdio::null())
                    .kill_on_drop(true)
                    .output();
                let output = run.await.map_err(|error| format!("{program}: {error}"))?;
                if !output.status.success() {
                    return Ok(None);
                }
                said(program, &String::from_utf8_lossy(&output.stdout))
            }
        }
    }
}

fn said(who: &str, text: &str) -> Result<Option<Notice>, String> {
    let ends = Ends::said(text)?;
    let what = format!("{who} says that the host goes");
    Ok(Some(Notice { what, ends }))
}

/// Looks until it is stopped; a notice drains the node.
pub(super) async fn run(node: Node, config: Config, stop: CancellationToken) {
    let web = Web::new();
    let mut watcher = match config.source {
        Source::None => return,
        Source::Aws => Watcher::Aws(Aws::new(web)),
        Source::Gcp => Watcher::Gcp(Gcp::new(web)),
        Source::Azure => Watcher::Azure(Azure::new(web)),
        Source::File => Watcher::File(config.path.clone()),
        Source::Exec => Watcher::Exec(config.path.clone()),
    };
    let (mut followed, mut blind) = (None, false);
    loop {
        let look = tokio::time::timeout(PATIENCE, watcher.look());
        let Some(look) = stop.run_until_cancelled(look).await else {
            return;
        };
        match look.unwrap_or_else(|_elapsed| Err("it did not answer in time".to_owned())) {
            Ok(notice) => {
                if blind {
                    info!(source = ?config.source, "notices are heard again");
                }
                blind = false;
                // One that is gone may come again.
                if notice.is_none() || notice == followed {
                    followed = notice;
                } else if let Some(notice) = notice
                    && follow(&node, &notice, config.margin).await
                {
                    followed = Some(notice);
                }
            }
            Err(why) => {
                if !blind {
                    warn!(source = ?config.source, why, "no notice of the host's end would be heard");
                }
                blind = true;
            }
        }
        let waited = stop
            .run_until_cancelled(tokio::time::sleep(config.interval))
            .await;
        if waited.is_none() {
            return;
        }
    }
}

async fn follow(node: &Node, notice: &Notice, margin: Duration) -> bool {
    let limit = notice.ends.left(wall_now(), margin);
    let shown = limit.map_or_else(
        || "the configured time".to_owned(),
        |limit| humantime::format_duration(Duration::from_secs(limit.as_secs())).to_string(),
    );
    warn!("{}: the node is drained within {shown}", notice.what);
    match node.drain(limit, true).await {
        Ok(_duty) => true,
        Err(error) => {
            warn!(%error, "the drain cannot be ordered yet");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_over_before_the_host_is() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let seconds = Duration::from_secs;
        let left = |ends: Ends| ends.left(now, seconds(10));
        assert_eq!(left(Ends::At(now + seconds(120))), Some(seconds(110)));
        assert_eq!(left(Ends::At(now - seconds(1))), Some(seconds(0)));
        assert_eq!(left(Ends::In(seconds(30))), Some(seconds(20)));
        assert_eq!(left(Ends::In(seconds(3))), Some(seconds(0)));
        assert_eq!(left(Ends::Unknown), None);
    }

    #[test]
    fn a_file_may_say_a_moment_a_span_or_nothing() {
        assert_eq!(Ends::said(" \n"), Ok(Ends::Unknown));
        assert_eq!(Ends::said("90s\n"), Ok(Ends::In(Duration::from_secs(90))));
        let at = Ends::At(OffsetDateTime::UNIX_EPOCH);
        assert_eq!(Ends::said("1970-01-01T00:00:00Z"), Ok(at));
        assert!(Ends::said("soon").unwrap_err().contains("`soon`"));
    }
}
