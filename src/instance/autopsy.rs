//! What a browser died of, and whose fault that is: read from its container before it is removed.
//!
//! The relay sees the death of the container's init some hundred milliseconds before Docker can say
//! anything about it, so Docker is given a moment. Where it says nothing, what the relay saw stands.

use std::time::Duration;

use procfs::process::Process;
use tokio::time::{Instant, sleep};

use super::{Instances, container_name, ooms::Toll};
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
        let ooms = self
            .get(id)
            .map(|instance| instance.ooms)
            .unwrap_or_default();
        // At once: the kernel's count goes with the container.
        ooms.look();
        let look = async {
            let until = Instant::now() + LIMIT;
            loop {
                let container = docker.inspect(&name).await.ok()??;
                let settled = !container.running || !is_dead(container.pid);
                if settled || Instant::now() > until {
                    return read(&container, ooms.toll(container.oom_killed), memory);
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
fn read(container: &Container, toll: Toll, memory: u64) -> Option<Autopsy> {
    let autopsy = |saw: String, blame| Some(Autopsy { saw, blame });
    if container.paused {
        let saw = "the browser's container was paused from outside".to_owned();
        return autopsy(saw, Blame::Host);
    }
    if container.running {
        return None;
    }
    let limit = memory >> 20;
    let code = container.exit_code?;
    if toll.fatal {
        let what = if code == KILLED {
            "the browser needed".to_owned()
        } else {
            format!("the browser ended with {code} after it needed")
        };
        let saw = format!("{what} more memory than its container has ({limit} MiB)");
        return autopsy(saw, Blame::Client);
    }
    let (what, blame) = match code {
        KILLED | TERMINATED => (
            "the browser's container was killed from outside".to_owned(),
            Blame::Host,
        ),
        code if code > SIGNALLED => (
            format!("the browser crashed (signal {})", code - SIGNALLED),
            Blame::Substrate,
        ),
        code => (format!("the browser ended with {code}"), Blame::Substrate),
    };
    let before = match toll.kills {
        0 => String::new(),
        kills => format!("; earlier the kernel had killed {kills} of its processes for memory"),
    };
    autopsy(what + &before, blame)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NO_TOLL: Toll = Toll {
        kills: 0,
        fatal: false,
    };

    fn container(status: &str, exit_code: Option<i64>) -> Container {
        Container {
            id: String::new(),
            name: String::new(),
            pid: 0,
            running: matches!(status, "running" | "paused"),
            paused: status == "paused",
            status: status.to_owned(),
            started_at: String::new(),
            exit_code,
            oom_killed: false,
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
        for ((status, code, fatal), sentence, blame) in table {
            let toll = Toll {
                kills: fatal.into(),
                fatal,
            };
            let found = read(&container(status, code), toll, 300 << 20).unwrap();
            assert_eq!(found.blame, blame, "{found:?}");
            assert!(found.saw.contains(sentence), "{found:?}");
        }
        assert_eq!(read(&container("running", None), NO_TOLL, 0), None);
        assert_eq!(read(&container("created", None), NO_TOLL, 0), None);
    }

    #[test]
    fn an_older_kill_is_told_and_blamed_for_nothing() {
        let older = Toll {
            kills: 2,
            fatal: false,
        };
        let found = read(&container("exited", Some(137)), older, 300 << 20).unwrap();
        assert_eq!(found.blame, Blame::Host);
        assert_eq!(
            found.saw,
            "the browser's container was killed from outside; earlier the kernel had killed 2 of its \
             processes for memory"
        );
    }

    #[test]
    fn a_process_that_lives_is_not_dead() {
        assert!(!is_dead(std::process::id()));
        assert!(is_dead(0));
        assert!(is_dead(u32::MAX));
    }
}
