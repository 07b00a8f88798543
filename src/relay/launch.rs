//! Finding the relay of a runtime directory, starting one where none answers; stopping it is in `stop`.
//!
//! The relay must survive whoever started it: its own process group, no descriptor of ours, output
//! to a file of its own (an inherited stdout would keep our caller's pipe open), the port of the
//! gateway as its standard input.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Seek, SeekFrom},
    net::{SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    },
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::{User, geteuid},
};
use tokio::{process::Command, time::Instant};
use tracing::info;

pub use super::stop::{kill, stop};
use super::{
    KeptBy, Paths,
    client::{RelayClient, RelayError, Settings, Welcome},
    runtime_dir,
    stop::clear_stale,
};
use crate::{
    model::{Class, Classify},
    runtime::failpoint,
};

/// A new relay answers in milliseconds; a loaded host gets this long.
const START_LIMIT: Duration = Duration::from_secs(15);
/// Between two looks whether it answers.
const LOOK: Duration = Duration::from_millis(10);
/// How much of a failed relay's output is shown.
const EVIDENCE: u64 = 1_500;

/// What starting a relay takes.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The runtime directory.
    pub paths: Paths,
    /// This program.
    pub binary: PathBuf,
    /// The user that the relay becomes when we are root.
    pub user: String,
    /// Where its gateway listens.
    pub cdp_listen: SocketAddr,
    /// Whose process it is.
    pub kept_by: KeptBy,
}

/// Why there is no relay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The runtime directory.
    #[error("the runtime directory {} cannot be prepared: {source}", path.display())]
    RuntimeDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The gateway's port.
    #[error(
        "the CDP gateway cannot listen on {address}: {source}; free the port or set cdp.listen"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The user.
    #[error("there is no user `{user}` for the relay; create it with `useradd --system {user}`")]
    NoUser {
        /// Which.
        user: String,
    },
    /// It could not be started.
    #[error("the relay cannot be started: {0}")]
    Spawn(#[source] io::Error),
    /// It started and went.
    #[error("the relay ended at once ({status}): {evidence}")]
    Ended {
        /// Its exit status.
        status: String,
        /// The last it said.
        evidence: String,
    },
    /// It is a service's, and that does not run.
    #[error(
        "no relay answers on {}, and `cdp.relay` says that a service keeps it: {source}; \
         `systemctl status chaser-relay` says why",
        socket.display()
    )]
    NoService {
        /// Where it should answer.
        socket: PathBuf,
        /// What was heard instead.
        source: RelayError,
    },
    /// It runs and does not answer, or refuses.
    #[error(transparent)]
    Relay(#[from] RelayError),
}

impl Classify for LaunchError {
    fn class(&self) -> Class {
        match self {
            Self::Relay(error) | Self::NoService { source: error, .. } => error.class(),
            Self::Listen { .. } | Self::NoUser { .. } | Self::RuntimeDir { .. } => Class::Invalid,
            Self::Spawn(_) | Self::Ended { .. } => Class::Internal,
        }
    }
}

/// Greets the relay of the runtime directory, after starting one where none answers. `listener` is a
/// duplicate of the gateway's listener that outlived an earlier relay.
///
/// # Errors
/// [`LaunchError`] with what an operator can do about it.
pub async fn ensure(
    launch: &Launch,
    client: &RelayClient,
    settings: &Settings,
    listener: Option<&OwnedFd>,
) -> Result<Welcome, LaunchError> {
    match client.hello(settings).await {
        Ok(welcome) => return Ok(welcome),
        Err(RelayError::Unreachable(_)) => {}
        Err(error) => return Err(error.into()),
    }
    if launch.kept_by == KeptBy::Service {
        return of_the_service(launch, client, settings).await;
    }
    let runtime_dir = |source| LaunchError::RuntimeDir {
        path: launch.paths.root.clone(),
        source,
    };
    prepare(launch)?;
    let _only_starter = lock(launch.paths.lock()).await.map_err(runtime_dir)?;
    if let Some(welcome) = living(launch, client, settings).await? {
        return Ok(welcome);
    }
    clear_stale(&launch.paths).map_err(runtime_dir)?;
    let mut options = OpenOptions::new();
    options.append(true).read(true).create(true).mode(0o640);
    let mut log = runtime_dir::own_file(&launch.paths.log(), &mut options).map_err(runtime_dir)?;
    let said_before = log.seek(SeekFrom::End(0)).map_err(runtime_dir)?;
    let stdin = match listener {
        Some(listener) => listener.try_clone().map_err(LaunchError::Spawn)?,
        None => bind(launch.cdp_listen)?,
    };
    let mut child = Command::new(&launch.binary)
        .arg("relay")
        .arg("--runtime-dir")
        .arg(&launch.paths.root)
        .arg("--cdp-listen")
        .arg(launch.cdp_listen.to_string())
        .arg("--user")
        .arg(&launch.user)
        // Ours holds keys, which are none of its business.
        .env_clear()
        .envs(failpoint::handed_on())
        .stdin(Stdio::from(stdin))
        .stdout(log.try_clone().map_err(LaunchError::Spawn)?)
        .stderr(log.try_clone().map_err(LaunchError::Spawn)?)
        .process_group(0)
        .kill_on_drop(false)
        .spawn()
        .map_err(LaunchError::Spawn)?;
    let limit = Instant::now() + START_LIMIT;
    loop {
        match client.hello(settings).await {
            Ok(welcome) => {
                info!(
                    pid = welcome.pid,
                    cdp = welcome.cdp_address,
                    "relay started"
                );
                return Ok(welcome);
            }
            Err(RelayError::Unreachable(_)) if Instant::now() < limit => {}
            Err(error) => {
                // Left alone it would be in the way of the next try.
                child.start_kill().map_err(LaunchError::Spawn)?;
                return Err(error.into());
            }
        }
        if let Some(status) = child.try_wait().map_err(LaunchError::Spawn)? {
            return Err(LaunchError::Ended {
                status: status.to_string(),
                evidence: evidence(&mut log, said_before),
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits for the relay that a service manager starts, or starts again.
async fn of_the_service(
    launch: &Launch,
    client: &RelayClient,
    settings: &Settings,
) -> Result<Welcome, LaunchError> {
    let limit = Instant::now() + START_LIMIT;
    loop {
        match client.hello(settings).await {
            Err(RelayError::Unreachable(_)) if Instant::now() < limit => {}
            Err(source @ RelayError::Unreachable(_)) => {
                let socket = launch.paths.socket();
                return Err(LaunchError::NoService { socket, source });
            }
            answer => return Ok(answer?),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Greets whoever was started while we waited for the lock. A relay that holds its pid file and does
/// not answer is starting or stopping: its sockets are not stale until it has done one of the two.
async fn living(
    launch: &Launch,
    client: &RelayClient,
    settings: &Settings,
) -> Result<Option<Welcome>, LaunchError> {
    let limit = Instant::now() + START_LIMIT;
    loop {
        let unreachable = match client.hello(settings).await {
            Ok(welcome) => return Ok(Some(welcome)),
            Err(error @ RelayError::Unreachable(_)) => error,
            Err(error) => return Err(error.into()),
        };
        let lives =
            runtime_dir::living(&launch.paths.pid()).map_err(|source| LaunchError::RuntimeDir {
                path: launch.paths.root.clone(),
                source,
            })?;
        if lives.is_none() {
            return Ok(None);
        }
        if Instant::now() >= limit {
            return Err(unreachable.into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The runtime directory: ours, but the relay may make files of its own in it (and remove no others).
fn prepare(launch: &Launch) -> Result<(), LaunchError> {
    let root = &launch.paths.root;
    let failed = |source| LaunchError::RuntimeDir {
        path: root.clone(),
        source,
    };
    fs::create_dir_all(root).map_err(failed)?;
    let folders = [root.join("meter"), root.join("instances")];
    let owner = if geteuid().is_root() && !launch.user.is_empty() {
        let user = User::from_name(&launch.user)
            .ok()
            .flatten()
            .ok_or_else(|| LaunchError::NoUser {
                user: launch.user.clone(),
            })?;
        let (user, group) = (user.uid.as_raw(), user.gid.as_raw());
        chown(root, Some(0), Some(group)).map_err(failed)?;
        fs::set_permissions(root, Permissions::from_mode(0o1771)).map_err(failed)?;
        Some((user, group))
    } else {
        None
    };
    for folder in &folders {
        runtime_dir::folder(folder, owner).map_err(failed)?;
    }
    Ok(())
}

fn bind(address: SocketAddr) -> Result<OwnedFd, LaunchError> {
    TcpListener::bind(address)
        .map(OwnedFd::from)
        .map_err(|source| LaunchError::Listen { address, source })
}

async fn lock(path: PathBuf) -> io::Result<Flock<File>> {
    let taken = tokio::task::spawn_blocking(move || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).mode(0o600);
        let file = runtime_dir::own_file(&path, &mut options)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| io::Error::from(error))
    });
    taken
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

fn evidence(log: &mut File, from: u64) -> String {
    let mut said = String::new();
    let read = log
        .seek(SeekFrom::Start(from))
        .and_then(|_| log.take(EVIDENCE).read_to_string(&mut said));
    match read {
        Ok(0) => "it said nothing".to_owned(),
        Ok(_) => said.trim().to_owned(),
        Err(error) => format!("its log cannot be read: {error}"),
    }
}
