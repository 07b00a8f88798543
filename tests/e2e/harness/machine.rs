//! A Debian host of the test's own: real systemd 252 as PID 1, and Docker, in a container.
//!
//! Docker runs inside, not the machine's own handed in: the agent pins the init of each session by the pid
//! that Docker tells, so both must live in one pid namespace, and systemd must be PID 1 of its own.
//!
//! What the container may beyond Docker's default is what that takes, by name: SYS_ADMIN and an open
//! seccomp profile (systemd and the inner Docker mount and make namespaces), NET_ADMIN (the inner wlan0 of a
//! session), SYS_PTRACE (entering a session's namespace). It is on the host's network, where the lab's origin and
//! the test's clients are. None of this is a session's: those are as hard inside as anywhere.

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};

use super::{
    Api, Lab, docker,
    patience::{blocking, eventually, seconds},
};

const IMAGE: &str = "chaser/host:latest";
const BROWSER: &str = "chaser/chromium:latest";
const KEY: &str = "sk_test";
/// What is installed where, without a package.
const FILES: &[(&str, &str)] = &[
    ("chaser-node.service", "/usr/lib/systemd/system"),
    ("chaser-relay.service", "/usr/lib/systemd/system"),
    ("chaser-relay.socket", "/usr/lib/systemd/system"),
    ("chaser-api.service", "/usr/lib/systemd/system"),
    ("chaser-drain.service", "/usr/lib/systemd/system"),
    ("chaser.target", "/usr/lib/systemd/system"),
    ("chaser.sysusers", "/usr/lib/sysusers.d/chaser.conf"),
    ("chaser.tmpfiles", "/usr/lib/tmpfiles.d/chaser.conf"),
];

/// A booted host. Dropping it removes it with all that is in it.
pub struct Machine {
    name: String,
    pub api: Api,
    pub cdp: SocketAddr,
    config: String,
    _claim: File,
}

impl Machine {
    /// Boots one and waits for its Docker, which has the browser's image.
    pub async fn boot(lab: &Lab, config: &str) -> Self {
        assert!(
            docker::has_image(IMAGE),
            "the image {IMAGE} is missing: `make host` builds it"
        );
        docker::require_image();
        fs::create_dir_all("/run/chaser-lab").unwrap();
        let claim = File::create("/run/chaser-lab/host.lock").unwrap();
        flock(&claim, FlockOperation::LockExclusive).unwrap();
        let name = "chaser-test-host".to_owned();
        // What a killed run left.
        docker::remove(&name);
        let data = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("host-docker");
        fs::create_dir_all(&data).unwrap();
        let mut words = vec!["run", "--detach", "--name", &name, "--network", "host"];
        words.extend(["--cgroupns", "private", "--pids-limit", "-1"]);
        for capability in ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"] {
            words.extend(["--cap-add", capability]);
        }
        words.extend(["--security-opt", "seccomp=unconfined"]);
        words.extend(["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"]);
        let volume = format!("{}:/var/lib/docker", data.display());
        words.extend(["--volume", &volume, IMAGE]);
        docker::run(&words);
        let address = |which| SocketAddr::from(([127, 0, 0, 1], lab.port(which)));
        let mut machine = Self {
            name,
            api: Api::new(format!("http://{}", address(0)), KEY),
            cdp: address(1),
            config: String::new(),
            _claim: claim,
        };
        let addresses: Vec<_> = lab.egress_addresses(4);
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        machine.config = format!(
            "[api]\nlisten = \"{}\"\nkeys = [\"{KEY}\"]\n[cdp]\nlisten = \"{}\"\n\
             [admin]\nlisten = \"{}\"\n[egress]\naddresses = {addresses:?}\nallow = [\"{}/32\"]\n{config}",
            address(0),
            machine.cdp,
            address(3),
            lab.origin_ip(),
        );
        eventually("Docker inside answers", seconds(90), async || {
            machine.sh("docker version").is_ok().then_some(())
        })
        .await;
        // The namespace is the machine's own, but Docker mounts it read-only; version 1 has a mount each.
        machine.must(
            "for each in /sys/fs/cgroup/*/; do mount -o remount,rw,bind $each 2>/dev/null; done; true",
        );
        machine.bring_browser();
        machine
    }

    /// Puts binary, units, users and directories where the package would, and the configuration.
    pub fn install(&self) {
        self.must("mkdir -p /usr/lib/sysusers.d /usr/lib/tmpfiles.d");
        self.copy(env!("CARGO_BIN_EXE_chaser"), "/usr/bin/chaser");
        for (file, to) in FILES {
            let from = format!("{}/systemd/{file}", env!("CARGO_MANIFEST_DIR"));
            self.copy(&from, to);
        }
        self.must("systemd-sysusers && systemd-tmpfiles --create chaser.conf");
        self.configure();
        self.must("chgrp chaser /etc/chaser/chaser.toml && chmod 0640 /etc/chaser/chaser.toml");
    }

    /// The configuration, and what of the units depends on this test's ports.
    pub fn configure(&self) {
        self.must("mkdir -p /etc/chaser");
        self.write("/etc/chaser/chaser.toml", &self.config);
        let listen = format!("[Socket]\nListenStream=\nListenStream={}\n", self.cdp);
        self.drop_in("chaser-relay.socket", &listen);
    }

    /// A part of a unit's settings, as `systemctl edit` makes it.
    pub fn drop_in(&self, unit: &str, text: &str) {
        let folder = format!("/etc/systemd/system/{unit}.d");
        self.must(&format!("mkdir -p {folder}"));
        self.write(&format!("{folder}/test.conf"), text);
        self.must("systemctl daemon-reload");
    }

    /// A file of this host into it.
    pub fn copy(&self, from: &str, to: &str) {
        docker::run(&["cp", from, &format!("{}:{to}", self.name)]);
    }

    pub fn write(&self, path: &str, text: &str) {
        let mut cat = Command::new("docker")
            .args([
                "exec",
                "-i",
                &self.name,
                "sh",
                "-c",
                &format!("cat >{path}"),
            ])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        cat.stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        assert!(cat.wait().unwrap().success(), "{path} cannot be written");
    }

    /// A line for its shell: what it said, and whether that went well.
    pub fn sh(&self, line: &str) -> Result<String, String> {
        let output = Command::new("docker")
            .args(["exec", &self.name, "sh", "-c", line])
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        if output.status.success() {
            Ok(said)
        } else {
            Err(said)
        }
    }

    /// A line that must go well.
    pub fn must(&self, line: &str) -> String {
        self.sh(line)
            .unwrap_or_else(|said| panic!("`{line}` failed: {said}"))
    }

    /// A property of a unit, as `systemctl show` says it.
    pub fn shows(&self, unit: &str, property: &str) -> String {
        let line = format!("systemctl show --property {property} --value {unit}");
        self.must(&line).trim().to_owned()
    }

    /// The main process of a service, as the machine itself numbers it.
    pub fn main_pid(&self, unit: &str) -> u32 {
        self.shows(unit, "MainPID").parse().unwrap()
    }

    /// Containers of sessions, running or not.
    pub fn containers(&self) -> Vec<String> {
        let said = self.must("docker ps --all --quiet");
        said.lines().map(str::to_owned).collect()
    }

    /// Until `systemctl is-active` says so of all.
    pub async fn is_active(&self, units: &str, within: Duration) {
        eventually(&format!("{units} run"), within, async || {
            self.sh(&format!("systemctl is-active {units}"))
                .is_ok()
                .then_some(())
        })
        .await;
    }

    /// Once for all tests: what is in Docker's directory stays.
    fn bring_browser(&self) {
        self.must("docker ps --all --quiet | xargs --no-run-if-empty docker rm --force");
        let here = docker::inspect(BROWSER, "{{.Id}}");
        let there = self.sh(&format!("docker inspect --format '{{{{.Id}}}}' {BROWSER}"));
        if there.is_ok_and(|there| there.trim() == here) {
            return;
        }
        let mut save = Command::new("docker")
            .args(["save", BROWSER])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let load = Command::new("docker")
            .args(["exec", "-i", &self.name, "docker", "load", "--quiet"])
            .stdin(save.stdout.take().unwrap())
            .stdout(Stdio::null())
            .status();
        assert!(load.unwrap().success() && save.wait().unwrap().success());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            let line = "systemctl --no-pager --failed; journalctl --boot --no-pager --lines 150 \
                        --unit 'chaser*' --unit docker";
            let said = self.sh(line).unwrap_or_else(|said| said);
            eprintln!("{said}");
        }
        docker::remove(&self.name);
        let ports = [self.cdp];
        let free = || {
            ports
                .iter()
                .all(|port| std::net::TcpListener::bind(port).is_ok())
        };
        let gone = blocking(seconds(5), free);
        assert!(thread::panicking() || gone, "somebody still listens");
    }
}
