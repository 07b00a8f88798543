//! The relay as a process: what it opens while it may, what it gives up, how it serves and stops.
//!
//! Started by a root agent it opens nothing but its listener before it becomes its own user for
//! good: no capability, no way back (`PR_SET_NO_NEW_PRIVS`). It works inside the runtime directory,
//! by relative names, so that directories above need not be open to it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, stream};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::chdir,
};
use parking_lot::Mutex;
use sd_notify::NotifyState;
use socket2::SockRef;
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};

use super::{Relay, fds, privilege, rpc::Rpc};
use crate::{
    relay::{
        Config, Paths,
        egress::{Policy, Resolver},
        gateway,
    },
    runtime::{Lanes, Tasks, boot_now, systemd::notify},
    traces::Calls,
    wire::relay::relay_service_server::RelayServiceServer,
};

/// Nobody watches and nothing is held for this long: the relay is not needed any more.
const LONELY: Duration = Duration::from_secs(60);
/// How often expectations and old endings are looked through.
const SWEEP: Duration = Duration::from_secs(5);
/// How long a browser may be silent, unless an agent says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long stopping may take.
const GRACE: Duration = Duration::from_secs(5);
/// Calls that one connection of the agent may have under way.
const CALLS: usize = 512;

/// After `accept` failed, as it does when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What `chaser relay` is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The runtime directory.
    pub runtime_dir: PathBuf,
    /// Where the gateway listens, unless standard input is a listening socket.
    pub cdp_listen: SocketAddr,
    /// The user to become when started as root; empty stays root.
    pub user: String,
    /// Whether to stay although nobody needs it.
    pub stay: bool,
}

/// Why a relay could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failed {
    /// The runtime directory.
    #[error("the runtime directory {} cannot be used: {source}", path.display())]
    RuntimeDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The gateway's port.
    #[error("the CDP gateway cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The user.
    #[error("user `{user}` cannot be taken on: {why}; create it with `useradd --system {user}`")]
    User {
        /// Which.
        user: String,
        /// Why.
        why: String,
    },
    /// Another relay lives.
    #[error("another relay serves this runtime directory")]
    Running,
    /// Anything later.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs a relay until it is told to stop or nobody needs it. `log` starts logging, once what was inherited
/// is closed and not before: its own descriptors would be among that.
///
/// # Errors
/// [`Failed`] when it cannot start.
pub fn run(options: &Options, log: impl FnOnce()) -> Result<(), Failed> {
    let dir = |source: io::Error| Failed::RuntimeDir {
        path: options.runtime_dir.clone(),
        source,
    };
    privilege::close_inherited()?;
    log();
    chdir(&options.runtime_dir).map_err(|error| dir(error.into()))?;
    let listener = inherited_listener().map_or_else(
        || {
            TcpListener::bind(options.cdp_listen).map_err(|source| Failed::Listen {
                address: options.cdp_listen,
                source,
            })
        },
        Ok,
    )?;
    privilege::raise_descriptor_limit();
    privilege::give_up(&options.user)?;
    let paths = Paths {
        root: PathBuf::from("."),
    };
    for folder in ["meter", "instances"] {
        std::fs::create_dir_all(folder).map_err(dir)?;
    }
    let _pid_file = claim(&paths.pid()).map_err(dir)?.ok_or(Failed::Running)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("relay")
        .build()?;
    runtime.block_on(serve(paths, listener, options.stay))?;
    Ok(())
}

async fn serve(paths: Paths, listener: TcpListener, stay: bool) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let cdp_address = listener.local_addr()?.to_string();
    let gateway_fd = OwnedFd::from(listener.try_clone()?);
    let tasks = Tasks::default();
    let defaults = Config::default();
    let (limits, limits_seen) = watch::channel(gateway::Limits {
        hold_timeout: defaults.hold_timeout,
        max_message_bytes: defaults.max_message_bytes,
        max_clients_per_session: defaults.max_clients_per_session,
        max_connections_per_source: defaults.max_connections_per_source,
        wrong_guesses_per_minute: defaults.wrong_guesses_per_minute,
        origins: defaults.origins.into(),
    });
    let relay = Arc::new(Relay {
        paths: paths.clone(),
        tasks: tasks.clone(),
        sessions: super::Sessions::default(),
        instances: super::Instances::default(),
        devtools: super::attachment::DEVTOOLS,
        ledger: super::Ledger::default(),
        fence: super::Fence::default(),
        greeted: watch::Sender::new(false),
        policy: watch::Sender::new(Arc::new(Policy::new(Vec::new()))),
        gateway: limits,
        top_hosts: watch::Sender::new(0),
        tls: watch::Sender::new(None),
        calls: Calls::of("chaser-relay"),
        patience: watch::Sender::new(PATIENCE),
        resolver: Mutex::new(Arc::new(Resolver::new(&[]).map_err(io::Error::other)?)),
        refused_before: Mutex::default(),
    });
    let clients = tokio::net::TcpListener::from_std(listener)?;
    let lanes = Lanes::start("relay cdp")?;
    accept_once_greeted(&relay, clients, limits_seen, Arc::clone(&lanes));
    let fenced = Arc::clone(&relay);
    tasks.spawn("fence", |stop| async move { fenced.fence.run(stop).await });
    let handover = fds::open(&paths.fd_socket())?;
    fds::serve(handover, Arc::clone(&relay), gateway_fd)?;
    let watchers = watch::Sender::new(0);
    let rpc = Rpc::new(Arc::clone(&relay), cdp_address.clone(), watchers.clone());
    let commands = commands(&paths.socket())?;
    let server = tonic::transport::Server::builder()
        .concurrency_limit_per_connection(CALLS)
        .layer(relay.calls.clone())
        .add_service(RelayServiceServer::new(rpc))
        .serve_with_incoming_shutdown(commands, tasks.stopping().cancelled_owned());
    tasks.spawn("orders", |_stop| async move {
        if let Err(error) = server.await {
            warn!(%error, "no more orders can be taken");
        }
    });
    info!(pid = std::process::id(), cdp = cdp_address, "relay ready");
    let status = format!("serving CDP on {cdp_address}");
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    until_not_needed(&relay, &watchers, stay).await?;
    notify(&[NotifyState::Stopping]);
    for attachment in relay.instances.all() {
        attachment.cut().await;
    }
    if let Err(stuck) = tasks.drain(GRACE).await {
        warn!(error = %stuck, "relay stops without them");
    }
    relay.calls.finish().await;
    info!("relay stopped");
    Ok(())
}

/// Before the first `Hello` nobody is known: clients that come earlier wait in the listener.
fn accept_once_greeted(
    relay: &Arc<Relay>,
    clients: tokio::net::TcpListener,
    limits: watch::Receiver<gateway::Limits>,
    lanes: Arc<Lanes>,
) {
    let (directory, mut greeted) = (Arc::clone(relay), relay.greeted.subscribe());
    let group = relay.tasks.clone();
    relay.tasks.spawn("gateway", |stop| async move {
        let known = tokio::select! {
            known = greeted.wait_for(|greeted| *greeted) => known.is_ok(),
            () = stop.cancelled() => false,
        };
        if known {
            let door = gateway::Door {
                listener: clients,
                tls: directory.tls.subscribe(),
            };
            gateway::serve(door, directory, limits, lanes, &group);
        }
    });
}

async fn until_not_needed(
    relay: &Arc<Relay>,
    watchers: &watch::Sender<usize>,
    stay: bool,
) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut sweep = tokio::time::interval(SWEEP);
    let mut needed = tokio::time::Instant::now();
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            now = sweep.tick() => {
                notify(&[NotifyState::Watchdog]);
                relay.sessions.forget(boot_now()?, relay.ledger.acked());
                if stay || *watchers.borrow() > 0 || !relay.instances.is_empty() {
                    needed = now;
                } else if now.duration_since(needed) >= LONELY {
                    info!("nobody needs this relay");
                    return Ok(());
                }
            }
        }
    }
}

/// Connections of root and of our own user to `R/relay.sock`. Never an error: whoever serves them
/// would take one for the end, and a relay that is out of descriptors for a moment must hear its
/// agent again afterwards.
fn commands(path: &Path) -> io::Result<impl Stream<Item = io::Result<UnixStream>> + use<>> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((peer, _address)) => {
                    let known = peer.peer_cred();
                    if known.is_ok_and(|credentials| privilege::may_command(credentials.uid())) {
                        return Some((Ok(peer), listener));
                    }
                }
                Err(error) => {
                    warn!(%error, "no agent can be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }))
}

/// Standard input, when it is a listening socket: how an agent (or systemd) hands the port over, so
/// that clients queue instead of being refused while a relay restarts.
fn inherited_listener() -> Option<TcpListener> {
    let stdin = rustix::stdio::stdin();
    SockRef::from(&stdin)
        .is_listener()
        .is_ok_and(|is| is)
        .then(|| stdin.try_clone_to_owned().ok().map(TcpListener::from))
        .flatten()
}

/// Writes and locks the pid file; `None` when another relay holds it.
fn claim(path: &Path) -> io::Result<Option<Flock<File>>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)?;
    let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => file,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
        Err((_, error)) => return Err(error.into()),
    };
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Some(file))
}
