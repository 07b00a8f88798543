//! A Docker of the tests' own: a second engine with its own root, so that a test may stop it without
//! harming any other test. The browser's image is brought over once and stays for the next test.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use nix::sys::signal::Signal;
use rustix::fs::{FlockOperation, flock};

use super::{
    patience::{blocking, seconds},
    processes,
};

const IMAGE: &str = "chaser/chromium:latest";
/// Short: sockets live below.
const RUN: &str = "/run/chaser-lab/docker";

/// The engine, held by one test at a time; nothing of ours is left in it when it is dropped.
pub struct OwnDocker {
    data: PathBuf,
    daemon: Option<Child>,
    live_restore: bool,
    _claim: File,
}

impl OwnDocker {
    /// Waits for its turn, starts the engine and sees to it that it has the image.
    pub fn start(live_restore: bool) -> Self {
        fs::create_dir_all(RUN).unwrap();
        let claim = File::create("/run/chaser-lab/docker.lock").unwrap();
        flock(&claim, FlockOperation::LockExclusive).unwrap();
        let mut own = Self {
            data: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("docker"),
            daemon: None,
            live_restore,
            _claim: claim,
        };
        own.sweep();
        own.go_on();
        for container in own.containers() {
            own.docker(&["rm", "-f", &container]);
        }
        let there = own.docker(&["images", "--no-trunc", "--quiet", IMAGE]);
        let wanted = Command::new("docker")
            .args(["images", "--no-trunc", "--quiet", IMAGE])
            .output()
            .unwrap();
        if there.trim() != String::from_utf8_lossy(&wanted.stdout).trim() {
            own.bring_image();
        }
        own
    }

    /// Where its data are.
    pub fn data(&self) -> &std::path::Path {
        &self.data
    }

    /// The line of `[node]` that names it.
    pub fn line(&self) -> String {
        format!("docker = \"{RUN}/docker.sock\"")
    }

    /// Stops the engine as an operator does; with live-restore its containers run on.
    pub fn stop(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        processes::signal(daemon.id(), Signal::SIGTERM);
        assert!(
            blocking(seconds(40), || daemon.try_wait().unwrap().is_some()),
            "dockerd stops"
        );
    }

    /// While it is stopped: it never made any container.
    pub fn forget_all(&self) {
        assert!(self.daemon.is_none(), "it would write them again");
        fs::remove_dir_all(self.data.join("containers")).unwrap();
    }

    /// What holds a container of this engine, known to it or not.
    pub fn shims(&self) -> Vec<u32> {
        let is_shim = |pid: &u32| {
            let line = processes::command_line(*pid);
            line.contains("containerd-shim") && line.contains(RUN)
        };
        processes::all().filter(is_shim).collect()
    }

    /// Starts the engine again.
    pub fn go_on(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.data.with_extension("log"))
            .unwrap();
        // Not the machine's own file: its settings are for the first engine.
        let config = format!("{RUN}/daemon.json");
        fs::write(&config, "{}").unwrap();
        let mut command = Command::new("dockerd");
        command
            .arg("--data-root")
            .arg(&self.data)
            .args(["--exec-root", &format!("{RUN}/exec")])
            .args(["--pidfile", &format!("{RUN}/docker.pid")])
            .args(["--host", &format!("unix://{RUN}/docker.sock")])
            .args(["--bridge", "none", "--iptables=false", "--ip-masq=false"])
            .args(["--config-file", &config])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if self.live_restore {
            command.arg("--live-restore");
        }
        let mut daemon = command.spawn().expect("dockerd is installed");
        let answers = blocking(seconds(60), || {
            self.run(&["version"]).is_some() || daemon.try_wait().unwrap().is_some()
        });
        assert!(
            answers && daemon.try_wait().unwrap().is_none(),
            "the second dockerd does not answer; see {}",
            self.data.with_extension("log").display()
        );
        self.daemon = Some(daemon);
    }

    /// Names of all our containers in it, running or not.
    pub fn containers(&self) -> Vec<String> {
        let filter = "label=chaser.node";
        self.docker(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"])
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Pid of a running container's init.
    pub fn pid(&self, container: &str) -> u32 {
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}", container]);
        pid.trim().parse().unwrap()
    }

    fn docker(&self, args: &[&str]) -> String {
        self.run(args)
            .unwrap_or_else(|| panic!("docker {args:?} failed at the second engine"))
    }

    fn run(&self, args: &[&str]) -> Option<String> {
        let host = format!("unix://{RUN}/docker.sock");
        let output = Command::new("docker")
            .args(["-H", &host])
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        output.status.success().then_some(said)
    }

    fn bring_image(&self) {
        let mut save = Command::new("docker")
            .args(["save", IMAGE])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let load = Command::new("docker")
            .args([
                "-H",
                &format!("unix://{RUN}/docker.sock"),
                "load",
                "--quiet",
            ])
            .stdin(save.stdout.take().unwrap())
            .stdout(Stdio::null())
            .status();
        assert!(load.unwrap().success() && save.wait().unwrap().success());
    }

    /// What a killed run may have left running.
    fn sweep(&self) {
        let recorded = fs::read_to_string(format!("{RUN}/docker.pid"));
        if let Some(pid) = recorded.ok().and_then(|text| text.trim().parse().ok())
            && processes::command_line(pid).contains(RUN)
        {
            processes::signal(pid, Signal::SIGTERM);
            blocking(seconds(40), || !processes::lives(pid));
        }
    }
}

impl Drop for OwnDocker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The next one sweeps and removes.
            return self.sweep();
        }
        if self.daemon.is_none() {
            self.go_on();
        }
        let left = self.containers();
        for container in &left {
            self.docker(&["rm", "-f", container]);
        }
        self.stop();
        // Dockerd mounts its root on itself, and leaves that behind where containers may live on.
        drop(Command::new("umount").arg(&self.data).output());
        assert!(
            left.is_empty(),
            "left behind in the second engine: {left:?}"
        );
    }
}
