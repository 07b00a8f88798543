//! The Docker Engine API; the only module that names bollard.
//!
//! Every call has a time limit and a typed error; the types are ours and plain. What is the same for
//! every container that we make is decided here and cannot be asked for otherwise: **no network**,
//! a private IPC namespace, no automatic removal (exit code and OOM flag are evidence), a log with a
//! size limit. `create` is idempotent by container name, `kill` and `remove` by absence.

mod container;
mod error;
mod event;
mod image;
mod spec;

use std::time::Duration;

use bollard::ClientVersion;

pub use container::Container;
pub use error::DockerError;
pub use event::{ContainerEvent, Happening};
pub use image::ImageFacts;
pub use spec::ContainerSpec;

/// The oldest engine that is known to work: 20.10.
const OLDEST: (usize, usize) = (1, 41);
/// What bollard was written against; the negotiation only ever goes down from here.
const NEWEST: &ClientVersion = &ClientVersion {
    major_version: 1,
    minor_version: 47,
};
/// For calls that only look.
const LOOK: Duration = Duration::from_secs(15);
/// For calls that start or end processes: a full host is slow at both.
const ACT: Duration = Duration::from_secs(60);

/// A connection to one Docker Engine. Cheap to clone; each call dials anew, so it outlives restarts
/// of the engine.
#[derive(Debug, Clone)]
pub struct Docker {
    engine: bollard::Docker,
    socket: String,
}

/// Which engine answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `20.10.24`.
    pub engine: String,
    /// `1.41`.
    pub api: String,
    /// Of the host.
    pub kernel: String,
}

/// How the engine is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Whether containers outlive a restart of the engine.
    pub live_restore: bool,
    /// `json-file`, `local`, `journald`, ….
    pub logging_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: String,
    /// OCI runtimes by name.
    pub runtimes: Vec<String>,
    /// Docker's data directory.
    pub root_dir: String,
    /// Storage driver.
    pub storage_driver: String,
    /// Memory of the host, bytes.
    pub memory_bytes: u64,
    /// Cores of the host.
    pub cpus: u32,
    /// `name=seccomp,profile=default`, `name=apparmor`, ….
    pub security_options: Vec<String>,
}

impl Docker {
    /// Connects to the engine behind a unix socket and agrees on an API version.
    ///
    /// # Errors
    /// [`DockerError::Unreachable`], or [`DockerError::Refused`] for an engine that is too old.
    pub async fn connect(socket: &str) -> Result<Self, DockerError> {
        let socket = socket.trim_start_matches("unix://").to_owned();
        let engine = bollard::Docker::connect_with_unix(&socket, ACT.as_secs(), NEWEST)
            .map_err(|error| DockerError::read("connect", &socket, &socket, error))?;
        let negotiated = within("connect", LOOK, engine.negotiate_version()).await?;
        let engine =
            negotiated.map_err(|error| DockerError::read("connect", &socket, &socket, error))?;
        let spoken = engine.client_version();
        if (spoken.major_version, spoken.minor_version) < OLDEST {
            return Err(DockerError::Refused {
                call: "connect",
                message: format!(
                    "API {spoken} is too old; {}.{} (Docker 20.10) is the oldest that works",
                    OLDEST.0, OLDEST.1
                ),
            });
        }
        Ok(Self { engine, socket })
    }

    /// Whether the engine answers within `limit`.
    ///
    /// # Errors
    /// [`DockerError`] for every way it does not.
    pub async fn ping(&self, limit: Duration) -> Result<(), DockerError> {
        self.call("ping", &self.socket, limit, self.engine.ping())
            .await?;
        Ok(())
    }

    /// Which engine answers.
    ///
    /// # Errors
    /// [`DockerError`] for every way it can fail.
    pub async fn version(&self) -> Result<Version, DockerError> {
        let version = self
            .call("version", &self.socket, LOOK, self.engine.version())
            .await?;
        Ok(Version {
            engine: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
            kernel: version.kernel_version.unwrap_or_default(),
        })
    }

    /// How the engine is set up.
    ///
    /// # Errors
    /// [`DockerError`] for every way it can fail.
    pub async fn info(&self) -> Result<Info, DockerError> {
        let info = self
            .call("info", &self.socket, LOOK, self.engine.info())
            .await?;
        let word = |word: Option<String>| word.unwrap_or_default();
        Ok(Info {
            live_restore: info.live_restore_enabled.unwrap_or_default(),
            logging_driver: word(info.logging_driver),
            cgroup_version: word(info.cgroup_version.map(|version| version.to_string())),
            cgroup_driver: word(info.cgroup_driver.map(|driver| driver.to_string())),
            runtimes: info.runtimes.unwrap_or_default().into_keys().collect(),
            root_dir: word(info.docker_root_dir),
            storage_driver: word(info.driver),
            memory_bytes: info.mem_total.map_or(0, unsigned),
            cpus: info.ncpu.and_then(|n| n.try_into().ok()).unwrap_or(0),
            security_options: info.security_options.unwrap_or_default(),
        })
    }

    /// The path of the engine's socket.
    #[must_use]
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// One bounded call about `subject`.
    async fn call<T>(
        &self,
        call: &'static str,
        subject: &str,
        limit: Duration,
        work: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, DockerError> {
        within(call, limit, work)
            .await?
            .map_err(|error| DockerError::read(call, &self.socket, subject, error))
    }
}

async fn within<T>(
    call: &'static str,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, DockerError> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_elapsed| DockerError::Silent { call, limit })
}

/// Docker counts in `i64`, never below zero.
fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
