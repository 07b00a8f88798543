//! The baseline: a Chrome of our own image in the same kind of container, started with the same
//! flags and driven without anything of `chaser` between.
//!
//! It differs from a session's in one thing: no proxy is set, and the page is served by a listener
//! inside the container's namespace, so a fetch crosses one loopback connection and nothing else.
//! DevTools is dialled from outside by sockets that were made inside, as the relay does it.

use std::{
    net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{origin, progress};
use crate::{
    cdp,
    docker::{Container, ContainerSpec, Docker, DockerError},
    instance::{self, substrate::chromium},
    netns,
    profile::Catalogue,
    runtime::Tasks,
};

/// Marks a bench's own containers; its value is the pid of who made them.
const LABEL: &str = "chaser.bench";
const READY: Duration = Duration::from_secs(60);
/// Between two looks whether DevTools listens; a start takes a hundred times as long.
const LOOK: Duration = Duration::from_millis(4);
/// Sockets made at once: entering a namespace costs a thread.
const BATCH: usize = 64;

/// What baseline browsers are started from.
#[derive(Debug)]
pub(super) struct Stable {
    docker: Docker,
    spec: ContainerSpec,
    made: AtomicUsize,
    /// What Docker is doing for us. It goes on when nobody waits any more, so it is waited for before
    /// what is left is looked for.
    making: Tasks,
    tasks: Tasks,
}

/// One that runs, answers, and has its page at [`Browser::page`].
#[derive(Debug)]
pub(super) struct Browser {
    name: String,
    pid: u32,
    namespace: Namespace,
    /// Path of the browser's own WebSocket.
    path: String,
}

/// A container's network namespace, to dial into.
#[derive(Debug)]
pub(super) struct Namespace(OwnedFd);

impl Stable {
    /// Sweeps what a killed bench left, and works out the flags.
    ///
    /// # Errors
    /// When Docker does not answer, or the image is missing.
    pub(super) async fn open(
        docker: &Docker,
        config: &instance::Config,
        tasks: &Tasks,
    ) -> Result<Self, DockerError> {
        sweep(docker).await?;
        let facts = docker.image(&config.image).await?;
        let facts = facts.ok_or_else(|| DockerError::ImageMissing {
            image: config.image.clone(),
        })?;
        let profile = Catalogue::built_in().default_profile();
        let mut spec = chromium::container(&config.image, &profile, config);
        spec.command.retain(|flag| !flag.starts_with("--proxy-"));
        if let Some(major) = chromium::major(&facts.labels) {
            spec.command
                .push(chromium::user_agent_flag(&profile, major));
        }
        spec.labels
            .insert(LABEL.to_owned(), process::id().to_string());
        Ok(Self {
            docker: docker.clone(),
            spec,
            made: AtomicUsize::new(0),
            making: tasks.child(),
            tasks: tasks.clone(),
        })
    }

    /// A container, made and started, until DevTools answers: what `docker run` does, and no more.
    ///
    /// # Errors
    /// When it does not get that far within a minute.
    pub(super) async fn start(&self) -> anyhow::Result<Browser> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = format!("chaser-bench-{}-{number}", process::id());
        match timeout(READY, self.run(&name)).await {
            Ok(Ok(browser)) => Ok(browser),
            Ok(Err(error)) => {
                drop(self.docker.remove(&name).await);
                Err(error)
            }
            Err(_elapsed) => {
                drop(self.docker.remove(&name).await);
                bail!("the baseline's browser does not answer after a minute")
            }
        }
    }

    async fn run(&self, name: &str) -> anyhow::Result<Browser> {
        let container = self.container(name).await?;
        let container = container.filter(|container| container.running);
        let container = container.context("the baseline's container ended at once")?;
        let namespace = Namespace(netns::pidfd(container.pid)?);
        let (made, path) = tokio::join!(
            netns::furnish(namespace.0.as_fd(), netns::Browser::Inside, 0),
            namespace.devtools_path()
        );
        let listener = StdListener::from(made?.egress);
        origin::serve(TcpListener::from_std(listener)?, &self.tasks);
        Ok(Browser {
            name: name.to_owned(),
            pid: container.pid,
            namespace,
            path: path?,
        })
    }

    async fn container(&self, name: &str) -> anyhow::Result<Option<Container>> {
        let (docker, spec, name) = (self.docker.clone(), self.spec.clone(), name.to_owned());
        let (done, made) = oneshot::channel();
        self.making.spawn("baseline container", |_stop| async move {
            let work = async {
                docker.create(&name, &spec).await?;
                docker.start(&name).await?;
                docker.inspect(&name).await
            };
            // Nobody may be waiting any more: then `clear` finds it.
            drop(done.send(work.await));
        });
        Ok(made.await??)
    }

    /// Removes a browser's container.
    ///
    /// # Errors
    /// What Docker says.
    pub(super) async fn remove(&self, browser: &Browser) -> Result<(), DockerError> {
        self.docker.remove(&browser.name).await.map(drop)
    }

    /// Removes whatever this bench has left.
    ///
    /// # Errors
    /// What Docker says.
    pub(super) async fn clear(&self) -> Result<(), DockerError> {
        if let Err(stuck) = self.making.drain(READY).await {
            progress(format_args!(
                "Docker is still at work on the baseline: {stuck}"
            ));
        }
        let own = format!("{LABEL}={}", process::id());
        for left in self.docker.list(&own).await? {
            self.docker.remove(&left.id).await?;
        }
        Ok(())
    }
}

async fn sweep(docker: &Docker) -> Result<(), DockerError> {
    let alive = |pid: &String| Path::new("/proc").join(pid).exists();
    for left in docker.list(LABEL).await? {
        if !left.labels.get(LABEL).is_some_and(alive) {
            docker.remove(&left.id).await?;
        }
    }
    Ok(())
}

impl Browser {
    /// Where its page is.
    pub(super) fn page(&self) -> String {
        format!("http://{}/", netns::EGRESS)
    }

    /// The path of its WebSocket, as a client that has been told the address knows it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Pid of its container's init.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// A fresh connection to DevTools.
    ///
    /// # Errors
    /// When the container is gone.
    pub(super) async fn dial(&self) -> anyhow::Result<TcpStream> {
        self.namespace.dial(chromium::DEVTOOLS).await
    }
}

impl Namespace {
    /// The namespace of a container's init.
    ///
    /// # Errors
    /// When there is no such process.
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        Ok(Self(netns::pidfd(pid)?))
    }

    /// Sockets made inside, to be connected from outside.
    ///
    /// # Errors
    /// When the container is gone.
    pub(super) async fn sockets(&self, count: usize) -> anyhow::Result<Vec<OwnedFd>> {
        Ok(netns::sockets(self.0.as_fd(), count).await?)
    }

    /// Connects to an address inside, from outside.
    ///
    /// # Errors
    /// When nothing listens there, or the container is gone.
    pub(super) async fn dial(&self, to: SocketAddr) -> anyhow::Result<TcpStream> {
        let socket = self.sockets(1).await?.pop();
        connect(socket.context("no socket was made")?, to).await
    }

    /// The path of the browser's WebSocket, as soon as DevTools tells it.
    ///
    /// # Errors
    /// When the container is gone; time is the caller's to limit.
    pub(super) async fn devtools_path(&self) -> anyhow::Result<String> {
        let mut sockets = Vec::new();
        loop {
            // A refused socket is spent: each attempt takes a new one.
            let socket = match sockets.pop() {
                Some(socket) => socket,
                None => {
                    sockets = self.sockets(BATCH).await?;
                    continue;
                }
            };
            if let Ok(stream) = connect(socket, chromium::DEVTOOLS).await {
                let told = cdp::get_json(stream, "/json/version").await?;
                let url = told["webSocketDebuggerUrl"].as_str().unwrap_or_default();
                let path = url.find("/devtools/").map(|at| url[at..].to_owned());
                return path.context("DevTools names no WebSocket");
            }
            sleep(LOOK).await;
        }
    }
}

/// Connects a socket that was made elsewhere.
///
/// # Errors
/// When nothing listens there.
pub(super) async fn connect(socket: OwnedFd, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpSocket::from_std_stream(StdStream::from(socket))
        .connect(to)
        .await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
