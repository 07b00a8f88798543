//! A Docker of the campaign's own: a second engine, so that it may be stopped without harm to anybody.
//!
//! Its data stay for the next campaign, because bringing the browser's image over takes a minute. With
//! live-restore its containers run on while it is away, as on a host that is set up as `chaser doctor`
//! wants it. One campaign at a time has it; what a killed one left running is stopped by the next.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, ensure};
use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MntFlags, umount2},
    sys::signal::Signal,
};
use parking_lot::Mutex;
use procfs::process::{Process, all_processes};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::{super::progress, signal};
use crate::{docker::Docker, instance::NODE_LABEL};

/// Short: sockets live below.
const RUN: &str = "/run/chaser-bench-docker";
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// The engine.
#[derive(Debug)]
pub(in crate::cli::bench) struct Engine {
    data: PathBuf,
    /// Held to take or put, never across a wait.
    daemon: Mutex<Option<Child>>,
    _claim: Flock<File>,
}

impl Engine {
    /// Starts it on `data`; it has `image` when this returns, and no container of ours.
    pub(in crate::cli::bench) async fn open(
        data: &Path,
        docker: &Docker,
        image: &str,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(RUN)?;
        fs::create_dir_all(data)?;
        let claim = File::create(format!("{RUN}/lock"))?;
        let claim = Flock::lock(claim, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| io::Error::from(error))
            .context("another campaign has the second Docker")?;
        sweep().await;
        let engine = Self {
            data: fs::canonicalize(data)?,
            daemon: Mutex::default(),
            _claim: claim,
        };
        engine.start().await?;
        let prepared = engine.prepare(docker, image).await;
        if prepared.is_err() {
            engine.stop(Signal::SIGTERM).await?;
        }
        prepared.map(|()| engine)
    }

    async fn prepare(&self, docker: &Docker, image: &str) -> anyhow::Result<()> {
        let own = self.docker().await?;
        for container in own.list(NODE_LABEL).await? {
            own.remove(&container.name).await?;
        }
        progress(format_args!("the second Docker is given {image}"));
        Ok(docker.copy_image(image, &own).await?)
    }

    /// Its socket.
    pub(in crate::cli::bench) fn socket() -> String {
        format!("{RUN}/docker.sock")
    }

    /// A connection to it.
    pub(in crate::cli::bench) async fn docker(&self) -> anyhow::Result<Docker> {
        Ok(Docker::connect(&Self::socket()).await?)
    }

    /// Starts it, and waits until it answers; one that runs is left alone.
    pub(in crate::cli::bench) async fn start(&self) -> anyhow::Result<()> {
        if self.daemon.lock().is_some() {
            return Ok(());
        }
        let log = self.data.with_extension("log");
        let said = File::options().create(true).append(true).open(&log)?;
        // Not the machine's own file: its settings are for the first engine.
        let config = format!("{RUN}/daemon.json");
        fs::write(&config, "{}")?;
        let mut command = Command::new("dockerd");
        command
            .arg("--data-root")
            .arg(&self.data)
            .args(["--exec-root", &format!("{RUN}/exec")])
            .args(["--pidfile", &format!("{RUN}/docker.pid")])
            .args(["--host", &format!("unix://{}", Self::socket())])
            .args(["--bridge", "none", "--iptables=false", "--ip-masq=false"])
            .args(["--live-restore", "--config-file", &config])
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said);
        let daemon = command.spawn().context("dockerd cannot be started")?;
        *self.daemon.lock() = Some(daemon);
        let until = Instant::now() + START;
        while Docker::connect(&Self::socket()).await.is_err() {
            let ended = match self.daemon.lock().as_mut() {
                Some(daemon) => daemon.try_wait()?,
                None => None,
            };
            ensure!(
                ended.is_none() && Instant::now() < until,
                "the second dockerd does not answer; see {}",
                log.display()
            );
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Ends it with `how`, and waits until it has ended; its containers run on.
    pub(in crate::cli::bench) async fn stop(&self, how: Signal) -> anyhow::Result<()> {
        let Some(mut daemon) = self.daemon.lock().take() else {
            return Ok(());
        };
        if let Some(pid) = daemon.id() {
            signal(pid, how);
        }
        timeout(STOP, daemon.wait())
            .await
            .context("the second dockerd does not end")??;
        Ok(())
    }

    /// Ends it for good; its data stay.
    ///
    /// # Errors
    /// When a container of ours was left in it.
    pub(in crate::cli::bench) async fn close(&self) -> anyhow::Result<()> {
        self.start().await?;
        let own = self.docker().await?;
        let left = own.list(NODE_LABEL).await?;
        for container in &left {
            own.remove(&container.name).await?;
        }
        self.stop(Signal::SIGTERM).await?;
        // Dockerd mounts its data on itself where containers may live on, and leaves that behind.
        // Absence is success.
        umount2(&self.data, MntFlags::MNT_DETACH).unwrap_or_default();
        let left = left.into_iter().map(|container| container.name);
        let left: Vec<_> = left.chain(running()).collect();
        ensure!(left.is_empty(), "left in the second Docker: {left:?}");
        Ok(())
    }
}

/// What still runs under this engine, known to it or not. It and the shims are killed, because nobody else
/// will; a shim with nothing below is containerd's own oversight.
fn running() -> Vec<String> {
    let processes = all_processes().into_iter().flatten().flatten();
    let ours = processes.filter_map(|process| {
        let line = process.cmdline().ok()?;
        let shim = line.first()?.contains("containerd-shim");
        let here = line.iter().any(|word| word.starts_with(RUN));
        (shim && here).then(|| (process, line.join(" ")))
    });
    ours.filter_map(|(shim, line)| {
        let threads = shim.tasks().into_iter().flatten().flatten();
        let below = threads
            .filter_map(|thread| thread.children().ok())
            .flatten();
        let below: Vec<_> = below.collect();
        for pid in below.iter().copied().chain([shim.pid.unsigned_abs()]) {
            signal(pid, Signal::SIGKILL);
        }
        (!below.is_empty()).then_some(line)
    })
    .collect()
}

/// What a killed campaign left running.
async fn sweep() {
    let recorded = fs::read_to_string(format!("{RUN}/docker.pid")).unwrap_or_default();
    let Ok(pid) = recorded.trim().parse::<u32>() else {
        return;
    };
    let ours = || {
        let process = Process::new(i32::try_from(pid).ok()?).ok()?;
        let line = process.cmdline().ok()?;
        line.iter().any(|word| word.contains(RUN)).then_some(())
    };
    if ours().is_none() {
        return;
    }
    progress("a second Docker of a killed campaign is stopped");
    signal(pid, Signal::SIGTERM);
    let until = Instant::now() + STOP;
    while ours().is_some() && Instant::now() < until {
        sleep(LOOK).await;
    }
}
