//! The way up a device: the [`Ladder`] decides, this tries, over an ADB connection of its own. It is
//! closed at the end, because some devices serve one host at a time and the next one is the relay.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::fd::BorrowedFd,
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    Failed, Settled,
    boot::{ASK_BOOT, Boot},
    ladder::{Ladder, Next, Rung, Seen},
    told,
};
use crate::{
    adb::{Adb, AdbError, Hello, Key, quote},
    cdp::get_json,
    instance::Stage,
    model::Progress,
    netns,
    relay::Dialer,
    runtime::{Tasks, wall_now},
};

/// A forwarder connects at once, and adbd greets or does not; also what it takes to know a key.
const GREETING: Duration = Duration::from_secs(2);
/// How long one connection shows a key that the device does not know. Then another is made, because an
/// adbd that reads its keys late in the boot looks for them only when it is greeted.
const SHOWN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);
/// One command of the framework: slow machines take seconds for each.
const COMMAND: Duration = Duration::from_secs(15);
/// Sockets for dialling, made some at a time: each greeting that nobody answers costs one.
const SOCKETS: usize = 4;
const EVIDENCE_LINES: usize = 8;
const EVIDENCE_CHARS: usize = 600;

/// A device that is up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Up {
    /// Name of its abstract DevTools socket.
    pub socket: String,
    /// `Android 14 - Chrome 156 (Mobile)`.
    pub device: String,
}

/// What was tried, and what came of it.
struct Climber<'a> {
    of: &'a Settled,
    key: Option<&'a Key>,
    inside: Dialer,
    pidfd: BorrowedFd<'a>,
    tasks: Tasks,
    adb: Option<Adb>,
    boot: Boot,
    up: Up,
}

/// Climbs until the device is up or is not coming up, with `key` where it demands one; `stage` hears of each
/// rung, once for each time that its budget begins. Bounded by the ladder's deadlines. Cancel-safe: what is
/// dropped is closed.
///
/// # Errors
/// [`Failed`], with the last lines of the device's log where it could still be asked for them.
pub async fn up(
    of: &Settled,
    key: Option<&Key>,
    pidfd: BorrowedFd<'_>,
    stage: &watch::Sender<Stage>,
) -> Result<Up, (Failed, String)> {
    let adbd = SocketAddr::from((Ipv4Addr::LOCALHOST, of.kind.adb_port));
    let mut climber = Climber {
        of,
        key,
        inside: Dialer::new(adbd, []),
        pidfd,
        tasks: Tasks::default(),
        adb: None,
        boot: Boot::default(),
        up: Up::default(),
    };
    let (begun, started) = (Instant::now(), wall_now());
    let mut ladder = Ladder::new(of.boot);
    let mut rung = ladder.first();
    let mut told = None;
    loop {
        let stands = ladder.stands();
        if told.replace(stands) != Some(stands) {
            stage.send_replace(seen_from_outside(stands, started));
        }
        let seen = climber.attempt(rung).await;
        match ladder.step(seen, begun.elapsed()) {
            Next::Try(next) => rung = next,
            Next::Again(next) => {
                rung = next;
                sleep(PAUSE).await;
            }
            Next::Up => return Ok(climber.up),
            Next::Failed(failed) => {
                let evidence = climber.evidence().await;
                return Err((failed, evidence));
            }
        }
    }
}

/// What a rung looks like from outside, of a container that was started then.
fn seen_from_outside(
    (rung, since, limit): (Rung, Duration, Duration),
    started: OffsetDateTime,
) -> Stage {
    let progress = Progress {
        step: rung.as_str().to_owned(),
        doing: rung.doing().to_owned(),
        since: started + since,
        limit,
    };
    Stage {
        doing: rung.doing(),
        progress: Some(progress),
    }
}

impl Climber<'_> {
    async fn attempt(&mut self, rung: Rung) -> Seen {
        let tried = match rung {
            Rung::Greeting => self.greet().await,
            Rung::Boot => self.booted().await,
            Rung::Package => self.package().await,
            Rung::Settings => self.settings().await,
            Rung::Launch => self.launch().await,
            Rung::Socket => self.socket().await,
            Rung::Answer => self.answer().await,
        };
        tried.unwrap_or_else(|error| {
            let lost = matches!(error, AdbError::Lost(_) | AdbError::Silent { .. });
            if matches!(error, AdbError::WantsKey) {
                Seen::WantsKey
            } else if let AdbError::KeyRefused { fingerprint } = error {
                Seen::KeyRefused(fingerprint)
            } else if lost && rung != Rung::Greeting {
                // A device that hangs is greeted anew.
                self.adb = None;
                Seen::AdbLost(error.to_string())
            } else {
                Seen::NotYet(error.to_string())
            }
        })
    }

    async fn greet(&mut self) -> Result<Seen, AdbError> {
        self.adb = None;
        if self.inside.spare() == 0 {
            match netns::sockets(self.pidfd, SOCKETS).await {
                Ok(sockets) => self.inside.refill(sockets),
                Err(error) => return Ok(Seen::NotYet(error.to_string())),
            }
        }
        let stream = match timeout(GREETING, self.inside.connect()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Ok(Seen::NotYet(error.to_string())),
            Err(_elapsed) => return Ok(Seen::NotYet("nobody connects".to_owned())),
        };
        let hello = Hello {
            limit: GREETING,
            key: self.key,
            patience: SHOWN,
        };
        self.adb = Some(Adb::greet(stream, hello, &self.tasks).await?);
        Ok(Seen::There)
    }

    async fn booted(&mut self) -> Result<Seen, AdbError> {
        let said = self.adb()?.shell(ASK_BOOT, COMMAND).await?;
        Ok(self.boot.look(&said.text()))
    }

    async fn package(&self) -> Result<Seen, AdbError> {
        let line = format!("pm path {}", self.of.device.package);
        let said = self.adb()?.shell(&line, COMMAND).await?;
        if said.code == 0 && said.text().starts_with("package:") {
            return Ok(Seen::There);
        }
        let complaint = said.complaint();
        Ok(Seen::NotYet(format!("`{line}`: {} {complaint}", said.code)))
    }

    async fn settings(&self) -> Result<Seen, AdbError> {
        let (adb, proxy) = (self.adb()?, self.of.kind.proxy);
        let flags = told::flags(proxy);
        // A time that Android's file systems can hold; nobody looks at it.
        let pushed = adb.push(
            told::FILE,
            flags.as_bytes(),
            (0o644, 1_000_000_000),
            COMMAND,
        );
        match pushed.await {
            Err(error @ AdbError::NotWritten { .. }) => return Ok(Seen::NotYet(error.to_string())),
            outcome => outcome?,
        }
        let line = format!(
            "settings put global http_proxy {proxy} && am set-debug-app --persistent {} && \
             settings get global http_proxy && cat {}",
            self.of.device.package,
            quote(told::FILE)
        );
        let said = adb.shell(&line, COMMAND).await?;
        let want = format!("{proxy}\n{}", flags.trim_end());
        // Commands of the framework may say more than was asked for, in front.
        if said.code == 0 && said.text().ends_with(&want) {
            return Ok(Seen::There);
        }
        let (text, complaint) = (said.text(), said.complaint());
        Ok(Seen::NotYet(format!("read back: {text} {complaint}")))
    }

    async fn launch(&self) -> Result<Seen, AdbError> {
        let super::Device {
            package, activity, ..
        } = &self.of.device;
        // Awake, or no picture is ever drawn; a device that has no such command is awake anyway.
        let line = format!(
            "svc power stayon true; input keyevent KEYCODE_WAKEUP; am force-stop {package}; \
             am start -W -n {package}/{activity} -d about:blank"
        );
        let said = self.adb()?.shell(&line, COMMAND).await?;
        if said.code == 0 && !said.text().contains("Error") {
            return Ok(Seen::There);
        }
        let (text, complaint) = (said.text(), said.complaint());
        Ok(Seen::NotYet(format!("`am start`: {text} {complaint}")))
    }

    async fn socket(&mut self) -> Result<Seen, AdbError> {
        let adb = self.adb()?;
        let sockets = adb.shell("cat /proc/net/unix", COMMAND).await?;
        let Some(name) = told::socket(&sockets.text()) else {
            return Ok(Seen::NotYet("no such socket".to_owned()));
        };
        match adb.open(&format!("localabstract:{name}"), COMMAND).await {
            Err(error @ AdbError::Refused(_)) => return Ok(Seen::NotYet(error.to_string())),
            outcome => drop(outcome?),
        }
        self.up.socket = name;
        Ok(Seen::There)
    }

    async fn answer(&mut self) -> Result<Seen, AdbError> {
        let adb = self.adb()?;
        let service = format!("localabstract:{}", self.up.socket);
        let stream = match adb.open(&service, COMMAND).await {
            Err(error @ AdbError::Refused(_)) => return Ok(Seen::NotYet(error.to_string())),
            outcome => outcome?,
        };
        let described = match get_json(stream, "/json/version").await {
            Ok(described) => described,
            Err(error) => return Ok(Seen::NotYet(error.to_string())),
        };
        let release = adb
            .shell("getprop ro.build.version.release", COMMAND)
            .await?;
        let product = described.get("Browser").and_then(|value| value.as_str());
        self.up.device = told::device(&release.text(), product.unwrap_or_default());
        Ok(Seen::There)
    }

    /// The last lines of what crashed, in one; empty where nothing did or nobody can be asked.
    async fn evidence(&self) -> String {
        let Ok(adb) = self.adb() else {
            return String::new();
        };
        let log = adb.shell("logcat -d -b crash -t 40", COMMAND).await;
        let text = log.map_or_else(|_gone| String::new(), |log| log.text());
        last_lines(&text)
    }

    fn adb(&self) -> Result<&Adb, AdbError> {
        let gone = || AdbError::Lost(crate::adb::Lost::Closed);
        self.adb.as_ref().ok_or_else(gone)
    }
}

fn last_lines(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().rev().take(EVIDENCE_LINES).collect();
    lines.reverse();
    let joined = lines.join(" | ");
    joined.chars().take(EVIDENCE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_the_end_of_the_log_and_short() {
        let log: Vec<_> = (0..100).map(|n| format!("line {n}")).collect();
        let last = last_lines(&log.join("\n"));
        assert!(
            last.starts_with("line 92 | ") && last.ends_with("line 99"),
            "{last}"
        );
        assert!(last_lines(&"x".repeat(9000)).len() <= EVIDENCE_CHARS);
    }
}
