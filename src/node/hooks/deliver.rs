//! One target's letters, one at a time and in order, each until it was taken or is too old.

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::Request;
use secrecy::{ExposeSecret, SecretString};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Config,
    queue::{Letter, Queue},
    sign::signature,
};
use crate::{node::web::Web, runtime::wall_now};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Who is told.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// A program: the letter on its standard input, the event as its argument.
    Exec(PathBuf),
    /// A web server.
    Webhook {
        url: String,
        key: SecretString,
        web: Web,
    },
}

impl Target {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Webhook { .. } => "webhook",
        }
    }

    /// `Err` is a sentence.
    async fn deliver(&self, letter: &Letter, limit: Duration) -> Result<(), String> {
        let body = serde_json::to_vec(letter).map_err(|error| error.to_string())?;
        match self {
            Self::Exec(program) => {
                let told = tell(program, letter, &body);
                let told = tokio::time::timeout(limit, told).await;
                told.unwrap_or_else(|_elapsed| {
                    let limit = humantime::format_duration(limit);
                    Err(format!("it ran longer than {limit} and was killed"))
                })
            }
            Self::Webhook { url, key, web } => {
                let at = wall_now().unix_timestamp();
                let key = key.expose_secret().as_bytes();
                let request = Request::post(url)
                    .header("content-type", "application/json")
                    .header("user-agent", concat!("chaser/", env!("CARGO_PKG_VERSION")))
                    .header("idempotency-key", &letter.id)
                    .header("chaser-event", &letter.event)
                    .header("chaser-signature", signature(key, at, &body))
                    .body(Bytes::from(body))
                    .map_err(|error| error.to_string())?;
                let answer = web.send(request, limit).await?;
                if (200..300).contains(&answer.status) {
                    return Ok(());
                }
                Err(format!("it answered {}", answer.status))
            }
        }
    }
}

async fn tell(program: &PathBuf, letter: &Letter, body: &[u8]) -> Result<(), String> {
    let mut child = tokio::process::Command::new(program)
        .arg(&letter.event)
        .env("CHASER_HOOK_ID", &letter.id)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it cannot be run: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A program that does not read is none the worse for it: its exit code counts.
        input.write_all(body).await.ok();
    }
    let status = child.wait().await.map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    Err(format!("it ended with {status}"))
}

/// After this failure the next attempt waits so long.
fn next_pause(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

/// Whether a letter is older than anybody waits for; one without a date is.
fn is_over(letter: &Letter, now: OffsetDateTime, give_up_after: Duration) -> bool {
    let at = OffsetDateTime::parse(&letter.at, &Rfc3339);
    at.is_ok_and(|at| now - at > give_up_after) || at.is_err()
}

/// Delivers until it is stopped.
pub(super) async fn run(
    queue: Arc<Queue>,
    target: Target,
    config: Config,
    stop: CancellationToken,
) {
    let (mut pause, mut told) = (FIRST_PAUSE, false);
    let name = target.name();
    loop {
        let Some((number, letter)) = stop.run_until_cancelled(queue.oldest()).await else {
            return;
        };
        if is_over(&letter, wall_now(), config.give_up_after) {
            warn!(
                target = name,
                event = letter.event,
                id = letter.id,
                "a hook is given up"
            );
            queue.give_up(number);
            continue;
        }
        let delivery = target.deliver(&letter, config.timeout);
        let Some(outcome) = stop.run_until_cancelled(delivery).await else {
            return;
        };
        let Err(why) = outcome else {
            queue.delivered(number);
            if told {
                info!(hook = name, "the receiver takes letters again");
            }
            (pause, told) = (FIRST_PAUSE, false);
            continue;
        };
        queue.failed();
        // Once per outage: the metrics count the rest.
        if !told {
            warn!(
                hook = name,
                event = letter.event,
                why,
                "a hook was not taken; it is tried again"
            );
            told = true;
        }
        let waited = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        if waited.is_none() {
            return;
        }
        pause = next_pause(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(at: &str) -> Letter {
        Letter {
            id: "1".to_owned(),
            event: "node.ready".to_owned(),
            at: at.to_owned(),
            node: "n".to_owned(),
            data: serde_json::Value::Null,
        }
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        let pauses = std::iter::successors(Some(FIRST_PAUSE), |pause| Some(next_pause(*pause)));
        let pauses: Vec<_> = pauses.take(8).map(|pause| pause.as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_letter_is_over_when_nobody_took_it_in_time() {
        let now = OffsetDateTime::parse("2026-01-02T00:00:00Z", &Rfc3339).unwrap();
        let day = Duration::from_secs(24 * 3600);
        assert!(!is_over(&letter("2026-01-01T00:00:01Z"), now, day));
        assert!(is_over(&letter("2025-12-31T23:59:59Z"), now, day));
        assert!(is_over(&letter("yesterday"), now, day));
    }

    #[tokio::test]
    async fn a_program_is_given_the_letter_and_its_exit_code_counts() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("hook");
        let write = |script: &str| {
            std::fs::write(&program, script).unwrap();
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&program, mode).unwrap();
        };
        let target = Target::Exec(program.clone());
        let deliver = || target.deliver_now();
        write(&format!(
            "#!/bin/sh\ncat >{0}/got; echo $1 $CHASER_HOOK_ID >>{0}/got",
            dir.path().display()
        ));
        deliver().await.unwrap();
        let got = std::fs::read_to_string(dir.path().join("got")).unwrap();
        assert!(
            got.starts_with("{\"id\":\"1\",\"event\":\"node.ready\""),
            "{got}"
        );
        assert!(got.ends_with("node.ready 1\n"), "{got}");
        write("#!/bin/sh\nexit 3");
        assert!(deliver().await.unwrap_err().contains('3'));
        write("#!/bin/sh\nsleep 60");
        assert!(deliver().await.unwrap_err().contains("killed"));
    }

    impl Target {
        async fn deliver_now(&self) -> Result<(), String> {
            let letter = letter("2026-01-01T00:00:00Z");
            self.deliver(&letter, Duration::from_secs(2)).await
        }
    }
}
