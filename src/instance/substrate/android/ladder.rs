//! How a device comes up, as a state machine: one deadline and one typed failure for each rung. Pure: it is
//! told what was seen and when, and says what to do next.
//!
//! ```text
//!   Greeting ─▶ Boot ─▶ Package ─▶ Settings ─▶ Launch ─▶ Socket ─▶ Answer ─▶ up
//!      ▲─────────┴── adbd went away ──┴───────────┴──────────┴────────┘
//!                                                 ▲──── the browser is not there ─┘ (twice)
//! ```

use std::time::Duration;

use super::Failed;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// adbd answers: a forwarder may listen long before it.
    Greeting,
    /// Android has booted.
    Boot,
    /// The browser is installed.
    Package,
    /// Proxy and flags are written, and read back.
    Settings,
    /// The browser was told to start.
    Launch,
    /// Its DevTools socket is there.
    Socket,
    /// DevTools describes itself.
    Answer,
}

impl Rung {
    /// A stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Greeting => "adbd",
            Self::Boot => "boot",
            Self::Package => "package",
            Self::Settings => "settings",
            Self::Launch => "launch",
            Self::Socket => "devtools_socket",
            Self::Answer => "devtools",
        }
    }

    /// For progress and time-outs.
    #[must_use]
    pub const fn doing(self) -> &'static str {
        match self {
            Self::Greeting => "waiting for the device's adbd",
            Self::Boot => "waiting for Android to boot",
            Self::Package => "looking for the browser's package",
            Self::Settings => "writing proxy and flags",
            Self::Launch => "starting the browser",
            Self::Socket => "waiting for the browser's DevTools socket",
            Self::Answer => "waiting for DevTools to answer",
        }
    }

    /// How long it may take. The boot's own budget holds for the greeting too: both begin with the
    /// container.
    const fn limit(self, boot: Duration) -> Duration {
        match self {
            Self::Greeting | Self::Boot => boot,
            Self::Package | Self::Settings => Duration::from_secs(20),
            Self::Launch => Duration::from_secs(30),
            Self::Socket => Duration::from_secs(15),
            Self::Answer => Duration::from_secs(10),
        }
    }

    const fn next(self) -> Option<Self> {
        match self {
            Self::Greeting => Some(Self::Boot),
            Self::Boot => Some(Self::Package),
            Self::Package => Some(Self::Settings),
            Self::Settings => Some(Self::Launch),
            Self::Launch => Some(Self::Socket),
            Self::Socket => Some(Self::Answer),
            Self::Answer => None,
        }
    }
}

/// What was seen of the rung that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// What is waited for is there.
    There,
    /// Not yet, and what there is instead.
    NotYet(String),
    /// The connection to adbd went away.
    AdbLost(String),
    /// adbd wants a key, and there is none.
    WantsKey,
    /// adbd wants a key, and did not take the one with this fingerprint.
    KeyRefused(String),
    /// Zygote is being restarted, or `system_server` is another one than before.
    ZygoteDied,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Try this rung, at once.
    Try(Rung),
    /// Try it again after a pause.
    Again(Rung),
    /// It is up.
    Up,
    /// It is not coming up.
    Failed(Failed),
}

/// Of zygote, before its boot counts as a loop.
const DEATHS: u32 = 5;
/// How long a key may take to be accepted: somebody's finger, or a boot that has not come to its keys.
const ACCEPTING: Duration = Duration::from_secs(30);
/// adbd restarts once where it becomes root, and once where its port is set.
const ADB_LOSSES: u32 = 8;
/// The browser is started again where no DevTools came of it.
const LAUNCHES: u32 = 2;

/// A device on its way up.
#[derive(Debug)]
pub struct Ladder {
    boot: Duration,
    rung: Rung,
    /// Since when it is on this rung; of the first two, since its container was started.
    since: Duration,
    deaths: u32,
    losses: u32,
    launches: u32,
    /// Android had booted before adbd went away.
    booted: bool,
    /// When the key was refused first.
    refused: Option<Duration>,
}

impl Ladder {
    /// At its foot, with so long for the boot.
    #[must_use]
    pub const fn new(boot: Duration) -> Self {
        Self {
            boot,
            rung: Rung::Greeting,
            since: Duration::ZERO,
            deaths: 0,
            losses: 0,
            launches: 0,
            booted: false,
            refused: None,
        }
    }

    /// What to try first.
    #[must_use]
    pub const fn first(&self) -> Rung {
        self.rung
    }

    /// On which rung it is, since when (after the start of the container) its budget counts, and how long
    /// that is.
    #[must_use]
    pub const fn stands(&self) -> (Rung, Duration, Duration) {
        (self.rung, self.since, self.rung.limit(self.boot))
    }

    /// `seen` came of trying its rung; `at` is the time since the container was started.
    pub fn step(&mut self, seen: Seen, at: Duration) -> Next {
        match seen {
            Seen::There => self.climb(at),
            Seen::WantsKey => Next::Failed(Failed::WantsKey),
            Seen::KeyRefused(fingerprint) => {
                let shown = at.saturating_sub(*self.refused.get_or_insert(at));
                if shown >= ACCEPTING || at.saturating_sub(self.since) >= self.boot {
                    return Next::Failed(Failed::KeyRefused { fingerprint, shown });
                }
                self.wait(at, "its key is not accepted".to_owned())
            }
            Seen::ZygoteDied => {
                self.deaths += 1;
                if self.deaths >= DEATHS {
                    return Next::Failed(Failed::CrashLoop { times: self.deaths });
                }
                self.wait(at, "zygote was restarted".to_owned())
            }
            Seen::AdbLost(why) => {
                self.losses += 1;
                if self.losses >= ADB_LOSSES {
                    return Next::Failed(Failed::AdbUnstable {
                        times: self.losses,
                        last: why,
                    });
                }
                self.rung = Rung::Greeting;
                // A device that had booted has as long again, and no longer.
                self.since = if self.booted { at } else { Duration::ZERO };
                self.wait(at, why)
            }
            Seen::NotYet(last) => self.wait(at, last),
        }
    }

    fn climb(&mut self, at: Duration) -> Next {
        self.booted |= self.rung == Rung::Boot;
        self.launches += u32::from(self.rung == Rung::Launch);
        let Some(next) = self.rung.next() else {
            return Next::Up;
        };
        // The boot's budget began with the greeting's.
        if next != Rung::Boot {
            self.since = at;
        }
        self.rung = next;
        Next::Try(next)
    }

    fn wait(&mut self, at: Duration, last: String) -> Next {
        let limit = self.rung.limit(self.boot);
        if at.saturating_sub(self.since) < limit {
            return Next::Again(self.rung);
        }
        let silent = matches!(self.rung, Rung::Socket | Rung::Answer);
        if silent && self.launches < LAUNCHES {
            self.rung = Rung::Launch;
            self.since = at;
            return Next::Try(Rung::Launch);
        }
        let times = self.launches;
        Next::Failed(match self.rung {
            Rung::Greeting => Failed::NoAdbd { limit, last },
            Rung::Boot => Failed::NotBooted { limit, last },
            Rung::Package => Failed::NoPackage { last },
            Rung::Settings => Failed::NoSettings { last },
            Rung::Launch => Failed::NoLaunch { last },
            Rung::Socket => Failed::NoSocket { times, last },
            Rung::Answer => Failed::NoAnswer { times, last },
        })
    }
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
