//! What a browser died of, and whose fault that is: read from its container before it is removed.
//!
//! The relay sees the death of the container's init some hundred milliseconds before Docker can say
//! anything about it, so Docker is given a moment. Where it says nothing, what the relay saw stands.

use std::time::Duration;

use procfs::process::Process;
use tokio::time::{Instant, sleep};

use super::{Instances, container_name};
use crate::{
    docker::Container,
    model::{Blame, InstanceId},
};

/// How long an ending may wait for what Docker knows.
const LIMIT: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);
/// Exit codes of an init that passes on its child's signal.
const SIGNALLED: i64 = 128;
const KILLED: i64 = SIGNALLED + 9;
const TERMINATED: i64 = SIGNALLED + 15;

/// What a browser died of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Autopsy {
    /// A sentence.
    pub saw: String,
    /// Whose fault it is.
    pub blame: Blame,
}

impl Instances {
    /// What the browser of `id` died of; `None` where nothing more is known than that it did.
    pub async fn autopsy(&self, id: InstanceId) -> Option<Autopsy> {
        let (docker, name) = (&self.tools.docker, container_name(id));
        let memory = self.tools.config.memory_bytes;
        let look = async {
            let until = Instant::now() + LIMIT;
            loop {
                let container = docker.inspect(&name).await.ok()??;
                let settled = !container.running || !is_dead(container.pid);
                if settled || Instant::now() > until {
                    return read(&container, memory);
                }
                sleep(LOOK).await;
            }
        };
        // Docker away must not hold up an ending.
        tokio::time::timeout(LIMIT, look).await.ok().flatten()
    }
}

/// Whether an init has died, reaped or not.
fn is_dead(pid: u32) -> bool {
    let process = i32::try_from(pid).ok().map(Process::new);
    let stat = process.and_then(|process| process.ok()?.stat().ok());
    stat.is_none_or(|stat| matches!(stat.state, 'Z' | 'X'))
}

/// What the container says; `None` of one that runs and should.
fn read(container: &Container, memory: u64) -> Option<Autopsy> {
    let autopsy = |saw: String, blame| Some(Autopsy { saw, blame });
    if container.paused {
        let saw = "the browser's container was paused from outside".to_owned();
        return autopsy(saw, Blame::Host);
    }
    if container.running {
        return None;
    }
    let limit = memory >> 20;
    match (container.exit_code?, container.oom_killed) {
        (KILLED, true) => autopsy(
            format!("the browser needed more memory than its container has ({limit} MiB)"),
            Blame::Client,
        ),
        (code, true) => autopsy(
            format!(
                "the browser ended with {code} after it needed more memory than its container has \
                 ({limit} MiB)"
            ),
            Blame::Client,
        ),
        (KILLED | TERMINATED, false) => autopsy(
            "the browser's container was killed from outside".to_owned(),
            Blame::Host,
        ),
        (code, false) if code > SIGNALLED => autopsy(
            format!("the browser crashed (signal {})", code - SIGNALLED),
            Blame::Substrate,
        ),
        (code, false) => autopsy(format!("the browser ended with {code}"), Blame::Substrate),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn container(status: &str, exit_code: Option<i64>, oom_killed: bool) -> Container {
        Container {
            id: String::new(),
            name: String::new(),
            pid: 0,
            running: matches!(status, "running" | "paused"),
            paused: status == "paused",
            status: status.to_owned(),
            started_at: String::new(),
            exit_code,
            oom_killed,
            labels: BTreeMap::new(),
            image: String::new(),
        }
    }

    #[test]
    fn each_death_has_its_sentence_and_its_blame() {
        let table = [
            (("exited", Some(137), true), "more memory", Blame::Client),
            (("exited", Some(133), true), "more memory", Blame::Client),
            (
                ("exited", Some(137), false),
                "killed from outside",
                Blame::Host,
            ),
            (
                ("exited", Some(143), false),
                "killed from outside",
                Blame::Host,
            ),
            (("exited", Some(139), false), "signal 11", Blame::Substrate),
            (("exited", Some(0), false), "ended with 0", Blame::Substrate),
            (("paused", None, false), "paused from outside", Blame::Host),
        ];
        for ((status, code, oom), sentence, blame) in table {
            let found = read(&container(status, code, oom), 300 << 20).unwrap();
            assert_eq!(found.blame, blame, "{found:?}");
            assert!(found.saw.contains(sentence), "{found:?}");
        }
        assert_eq!(read(&container("running", None, false), 0), None);
        assert_eq!(read(&container("created", None, false), 0), None);
    }

    #[test]
    fn a_process_that_lives_is_not_dead() {
        assert!(!is_dead(std::process::id()));
        assert!(is_dead(0));
        assert!(is_dead(u32::MAX));
    }
}
