//! A `chaser up` of the bench's own: this very program, with ports and directories that nobody else
//! has, and nothing left of it afterwards.

use std::{
    fs::File, io, net::SocketAddr, path::Path, process::Stdio, sync::OnceLock, time::Duration,
};

use anyhow::{Context, bail};
use hyper::Method;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{
    browser::Namespace,
    places::{self, Places, free_ports},
    progress,
    told::{at_rest, cdp_path},
};
use crate::{
    cli::{
        fail::{INTERNAL, UNAVAILABLE, fail},
        node,
        rest::Client,
    },
    docker::{Docker, DockerError},
    instance::NODE_LABEL,
    wire::node::{GetNodeRequest, GetNodeResponse, InspectSessionRequest},
};

const READY: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(40);
const SETTLE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(5);
/// What is asked for beside: longer than any bench.
const TTL_SECONDS: u64 = 3600;

/// A running `chaser up`.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) child: Mutex<Child>,
    /// What started it.
    pub(super) command: Mutex<Command>,
    pub(super) places: Places,
    api: Client,
    cdp: SocketAddr,
    admin: SocketAddr,
    docker: Docker,
    /// Its node, once it has told.
    node: OnceLock<String>,
}

/// A session that is ready.
#[derive(Debug, Clone)]
pub(super) struct Session {
    id: String,
    /// Of its CDP address.
    path: String,
}

/// What is to be started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    /// The operator's own configuration, if any.
    pub(super) config: Option<&'a Path>,
    /// Sessions at once, 0 for no limit but the host's memory.
    pub(super) max_sessions: usize,
    /// Warm instances.
    pub(super) warm: usize,
    /// Its state is on a file system of so many MiB of its own.
    pub(super) disk: Option<u32>,
    /// Keys of the configuration, as variables of its environment.
    pub(super) keys: &'a [(&'static str, String)],
}

impl Daemon {
    /// Starts it; it is not ready yet.
    ///
    /// # Errors
    /// When there is no port, directory or process to be had.
    pub(super) async fn spawn(docker: &Docker, wanted: Wanted<'_>) -> anyhow::Result<Self> {
        sweep(docker).await?;
        let places = Places::make(wanted.disk)?;
        let [api, cdp, admin] = free_ports().context("no free port on loopback")?;
        let key = format!("sk_bench_{:032x}", rand::random::<u128>());
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("up");
        if let Some(config) = wanted.config {
            command.arg("--config").arg(config);
        }
        let log = File::create(places.log())?;
        command
            .arg("--state-dir")
            .arg(&places.state)
            .arg("--runtime-dir")
            .arg(&places.runtime)
            .args(["--api-listen", &api.to_string()])
            .args(["--cdp-listen", &cdp.to_string()])
            .args(["--admin-listen", &admin.to_string()])
            .args(["--max-sessions", &wanted.max_sessions.to_string()])
            .args(["--max-creates-per-minute", "0"])
            .args(["--egress-allow", "127.0.0.1/32"])
            .args(["--warm", &wanted.warm.to_string()])
            // Killed with `kill -9` this process cannot end it any more.
            .args(["--end-with-parent", &std::process::id().to_string()])
            .arg("--quiet")
            // Whoever is left when it is ended is the bench's own.
            .env("CHASER_NODE_DRAIN_DEADLINE", "0s")
            .envs(wanted.keys.iter().map(|(key, value)| (key, value)))
            .env("CHASER_API_KEY", &key)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().context("`chaser up` cannot be started")?;
        Ok(Self {
            child: Mutex::new(child),
            command: Mutex::new(command),
            api: Client::new(&format!("http://{api}"), &key, None)?,
            places,
            cdp,
            admin,
            docker: docker.clone(),
            node: OnceLock::new(),
        })
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// Its own last words and exit code when it ends instead.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        let url = format!("http://{}/readyz", self.admin);
        let http = reqwest::Client::builder().no_proxy().build()?;
        let asked = async {
            loop {
                if let Some(status) = self.child.lock().try_wait()? {
                    let code = status.code().and_then(|code| u8::try_from(code).ok());
                    return Err(fail(code.unwrap_or(INTERNAL), self.places.last_words()));
                }
                let answer = http.get(&url).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    let node = self.status().await?.node_id;
                    self.places.note_node(&node)?;
                    self.node.get_or_init(|| node);
                    return Ok(());
                }
                sleep(LOOK).await;
            }
        };
        timeout(READY, asked).await.unwrap_or_else(|_elapsed| {
            let said = self.places.last_words();
            let sentence = format!("`chaser up` is not ready after a minute: {said}");
            Err(fail(UNAVAILABLE, sentence))
        })
    }

    /// What the node says of itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn status(&self) -> anyhow::Result<GetNodeResponse> {
        let mut node = node::connect(&self.places.runtime).await?;
        Ok(node.get_node(GetNodeRequest {}).await?.into_inner())
    }

    /// The pids of agent and relay.
    ///
    /// # Errors
    /// When the node does not answer.
    pub(super) async fn pids(&self) -> anyhow::Result<[u32; 2]> {
        let agent = self.child.lock().id().context("`chaser up` has ended")?;
        Ok([agent, self.status().await?.relay_pid])
    }

    /// The pid of a session's init, and its namespace.
    ///
    /// # Errors
    /// When the node does not know it.
    pub(super) async fn inside(&self, session: &Session) -> anyhow::Result<(u32, Namespace)> {
        let asked = InspectSessionRequest {
            session_id: session.id.clone(),
        };
        let mut node = node::connect(&self.places.runtime).await?;
        let place = node.inspect_session(asked).await?.into_inner();
        Ok((place.container_pid, Namespace::of(place.container_pid)?))
    }

    /// Orders a session and waits until it is ready.
    ///
    /// # Errors
    /// The API's own words, or the session's.
    pub(super) async fn create(&self) -> anyhow::Result<Session> {
        let order = json!({ "ttl_seconds": TTL_SECONDS });
        let made = self
            .api
            .call(Method::POST, "/v1/sessions?wait=ready", Some(&order))
            .await?;
        let mut session = made.unwrap_or_default();
        let id = session["id"].as_str().context("no id")?.to_owned();
        let path = format!("/v1/sessions/{id}");
        // The answer waits, but not for ever: many cold ones at once may take longer.
        let ready = async {
            while session["status"] == "creating" {
                sleep(LOOK).await;
                session = self
                    .api
                    .call(Method::GET, &path, None)
                    .await?
                    .unwrap_or_default();
            }
            anyhow::Ok(())
        };
        timeout(READY, ready)
            .await
            .context("a session is not ready after a minute")??;
        if session["status"] != "ready" {
            bail!("a session failed: {}", session["error"]);
        }
        Ok(Session {
            path: cdp_path(&session).context("a ready session has no CDP address")?,
            id,
        })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The API's own words.
    pub(super) async fn delete(&self, session: &Session) -> anyhow::Result<()> {
        let path = format!("/v1/sessions/{}", session.id);
        self.api.call(Method::DELETE, &path, None).await.map(drop)
    }

    /// A fresh connection to the CDP gateway.
    ///
    /// # Errors
    /// When it does not listen.
    pub(super) async fn dial(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.cdp).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Waits until nothing is under way any more: no session, no removal, and the pool at its depth.
    /// What one round leaves behind shall not be measured in the next.
    ///
    /// # Errors
    /// When it does not come to rest within two minutes.
    pub(super) async fn settle(&self, warm: usize) -> anyhow::Result<()> {
        let settled = async {
            while !at_rest(&self.status().await?, warm) || self.containers().await? > warm {
                sleep(LOOK * 10).await;
            }
            anyhow::Ok(())
        };
        timeout(SETTLE, settled).await.context(
            "the node does not come to rest: ended sessions, or a pool that does not fill",
        )?
    }

    async fn containers(&self) -> Result<usize, DockerError> {
        let Some(node) = self.node.get() else {
            return Ok(0);
        };
        Ok(self.docker.list(&label(node)).await?.len())
    }

    /// Ends it as an operator would, and removes its directories.
    ///
    /// # Errors
    /// When it does not end in order (it is killed then), or leaves a container.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let child = self.child.get_mut();
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        }
        let Ok(ended) = timeout(STOP, child.wait()).await else {
            child.kill().await?;
            let left = self.places.runtime.display();
            bail!("the bench's `chaser up` did not end on SIGTERM; {left} is left");
        };
        let (status, said) = (ended?, self.places.last_words());
        self.places.remove();
        if pid.is_some() && !status.success() {
            bail!("the bench's `chaser up` ended with {status}: {said}");
        }
        let left = self.containers().await?;
        if left > 0 {
            bail!("the bench's `chaser up` left {left} containers behind");
        }
        Ok(())
    }
}

fn label(node: &str) -> String {
    format!("{NODE_LABEL}={node}")
}

/// Removes what killed benches left whose daemons could not end in order: they died with them.
async fn sweep(docker: &Docker) -> anyhow::Result<()> {
    for left in places::left() {
        let name = left.runtime.display();
        progress(format_args!("{name} was left by a killed bench"));
        for pid in left.processes() {
            // One that has just ended is what is wanted.
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or_default();
        }
        if let Some(node) = left.node() {
            let gone = remove_all(docker, &node);
            let gone = timeout(STOP, gone).await;
            gone.with_context(|| format!("containers that {name} left do not go"))??;
        }
        left.remove();
    }
    Ok(())
}

async fn remove_all(docker: &Docker, node: &str) -> Result<(), DockerError> {
    loop {
        let left = docker.list(&label(node)).await?;
        if left.is_empty() {
            return Ok(());
        }
        for container in left {
            match docker.remove(&container.id).await {
                // Its daemon has asked for that already.
                Ok(_) | Err(DockerError::Busy { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        sleep(LOOK).await;
    }
}

impl Session {
    /// Of its WebSocket at the gateway.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}
