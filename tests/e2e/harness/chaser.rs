//! The program under test: the real binary as `chaser up`, with directories, ports and egress
//! addresses of its own.
//!
//! Dropping it ends it the way an operator would (SIGTERM) and then looks for everything that it
//! should have taken with it, so every test is a leak test.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{
    Api, Dns, Lab, Node, docker, leftovers,
    overdue::Overdue,
    patience::{blocking, eventually, seconds},
    processes,
};

pub const KEY: &str = "sk_test";

/// What will be started.
pub struct Setup<'lab> {
    lab: &'lab Lab,
    addresses: Vec<IpAddr>,
    allow: Vec<String>,
    config: BTreeMap<&'static str, Vec<String>>,
    less: Vec<&'static str>,
    more: Vec<&'static str>,
}

/// A running `chaser up`.
pub struct Chaser {
    child: Child,
    arguments: Vec<String>,
    /// The network namespace that it runs in, where that is not the machine's own.
    host: Option<String>,
    pub runtime_dir: PathBuf,
    pub state_dir: PathBuf,
    pub addresses: Vec<IpAddr>,
    pub admin: String,
    pub cdp: SocketAddr,
    pub api: Api,
    pub node: Node,
    pub node_id: String,
    _overdue: Overdue,
}

impl<'lab> Setup<'lab> {
    /// Twelve egress addresses, and the origin as the only place that pages may reach.
    pub fn on(lab: &'lab Lab) -> Self {
        Self {
            lab,
            addresses: lab.egress_addresses(12),
            allow: vec![format!("{}/32", lab.origin_ip())],
            config: BTreeMap::new(),
            less: Vec::new(),
            more: Vec::new(),
        }
    }

    pub fn egress_addresses(mut self, count: u8) -> Self {
        self.addresses = self.lab.egress_addresses(count);
        self
    }

    pub fn names(self, dns: &Dns) -> Self {
        self.set("egress", &format!("nameservers = [\"{}\"]", dns.address()))
    }

    /// One line of a section of the configuration file.
    pub fn set(mut self, section: &'static str, line: &str) -> Self {
        self.config
            .entry(section)
            .or_default()
            .push(line.to_owned());
        self
    }

    /// Leaves an option of the command line to the configuration.
    pub fn without(mut self, option: &'static str) -> Self {
        self.less.push(option);
        self
    }

    /// One more option of the command line.
    pub fn with(mut self, option: &'static str) -> Self {
        self.more.push(option);
        self
    }

    pub async fn start(self) -> Chaser {
        docker::require_image();
        let (state_dir, runtime_dir) = (self.lab.state_dir(), self.lab.runtime_dir());
        fs::create_dir_all(&state_dir).unwrap();
        let config = state_dir.join("chaser.toml");
        fs::write(&config, self.config()).unwrap();
        let (api, cdp, admin) = (self.address(0), self.address(1), self.address(3));

        let mut command: Vec<String> = vec!["up".into()];
        let mut option = |name: &str, value: String| command.extend([name.to_owned(), value]);
        option("--config", config.display().to_string());
        option("--state-dir", state_dir.join("S").display().to_string());
        option("--runtime-dir", runtime_dir.display().to_string());
        option("--api-listen", api.to_string());
        option("--cdp-listen", cdp.to_string());
        option("--admin-listen", admin.to_string());
        option("--api-key", KEY.to_owned());
        option("--max-sessions", "40".to_owned());
        option("--max-creates-per-minute", "0".to_owned());
        for ip in &self.addresses {
            option("--egress-address", ip.to_string());
        }
        for cidr in &self.allow {
            option("--egress-allow", cidr.clone());
        }
        for word in self.less {
            let at = command.iter().position(|other| other == word).unwrap();
            command.drain(at..at + 2);
        }
        command.extend(self.more.into_iter().map(str::to_owned));

        let logs = [state_dir.join("up.log"), runtime_dir.join("relay.log")];
        let mut chaser = Chaser {
            _overdue: Overdue::shows(logs),
            child: launch(&command, &state_dir, self.lab.host_namespace().as_deref()),
            arguments: command,
            host: self.lab.host_namespace(),
            node: Node::new(runtime_dir.join("node.sock")),
            runtime_dir,
            state_dir,
            addresses: self.addresses,
            admin: format!("http://{admin}"),
            cdp,
            api: Api::new(format!("http://{api}"), KEY),
            node_id: String::new(),
        };
        chaser.wait_until_ready().await;
        chaser.node_id = chaser.node.status().await.node_id;
        fs::write(chaser.runtime_dir.join("node.id"), &chaser.node_id).unwrap();
        chaser
    }

    fn address(&self, which: u16) -> SocketAddr {
        SocketAddr::new(self.lab.door(), self.lab.port(which))
    }

    fn config(&self) -> String {
        let mut config = self.config.clone();
        let node = config.entry("node").or_default();
        // What a test leaves alive is no customer's: nobody waits for it.
        if !node.iter().any(|line| line.starts_with("drain_deadline")) {
            node.push("drain_deadline = \"0s\"".to_owned());
        }
        config
            .iter()
            .map(|(section, lines)| format!("[{section}]\n{}\n", lines.join("\n")))
            .collect()
    }
}

impl Chaser {
    /// Everything by default.
    pub async fn start(lab: &Lab) -> Self {
        Setup::on(lab).start().await
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn relay_pid(&self) -> u32 {
        let text = fs::read_to_string(self.runtime_dir.join("relay.pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// The relay that came after `old`, once there is one: between the two nobody's pid is written down.
    pub fn relay_after(&self, old: u32) -> Option<u32> {
        let text = fs::read_to_string(self.runtime_dir.join("relay.pid")).ok()?;
        text.trim().parse().ok().filter(|pid| *pid != old)
    }

    pub fn ports(&self) -> Vec<SocketAddr> {
        let port = |url: &str| url.trim_start_matches("http://").parse().unwrap();
        vec![port(self.api.base()), port(&self.admin), self.cdp]
    }

    /// `kill -9` of the agent alone.
    pub fn sigkill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The same command once more, until it is ready.
    pub async fn restart(&mut self) {
        self.child = launch(&self.arguments, &self.state_dir, self.host.as_deref());
        self.wait_until_ready().await;
    }

    /// SIGTERM; the exit code.
    pub fn terminate(&mut self, within: Duration) -> Option<i32> {
        processes::signal(self.child.id(), Signal::SIGTERM);
        blocking(within, || self.child.try_wait().unwrap().is_some())
            .then(|| self.child.wait().unwrap().code())
            .flatten()
    }

    /// One of the operator's commands.
    pub fn command(&self, words: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_chaser"));
        command.args(words);
        command
    }

    /// What one of the operator's commands on this node says.
    pub async fn says(&self, words: &[&str]) -> String {
        let mut command = self.command(&["node"]);
        command.args(words).arg("--runtime-dir");
        let output = command.arg(&self.runtime_dir).output().await.unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// The operator's view of one session.
    pub async fn inspect(&self, session: &str) -> serde_json::Value {
        let output = self
            .command(&["node", "inspect", session, "--json", "--runtime-dir"])
            .arg(&self.runtime_dir)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|error| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            panic!("`chaser node inspect` printed no JSON ({error}): {text}{complaint}")
        })
    }

    /// The container of a session.
    pub async fn container(&self, session: &str) -> String {
        format!(
            "chaser-{}",
            self.inspect(session).await["instance"].as_str().unwrap()
        )
    }

    pub async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.admin);
        self.api
            .http()
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    /// The sum over all label sets of one counter; one that is not even announced is a failure.
    pub async fn counter(&self, name: &str) -> u64 {
        let text = self.metrics().await;
        assert!(
            text.contains(&format!("# TYPE {name} counter")),
            "no {name}: {text}"
        );
        text.lines()
            .filter(|line| line.starts_with(&format!("{name}_total")))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    /// All that agent and relay have said.
    pub fn logs(&self) -> String {
        [
            self.state_dir.join("up.log"),
            self.runtime_dir.join("relay.log"),
        ]
        .map(|path| fs::read_to_string(path).unwrap_or_default())
        .concat()
    }

    async fn wait_until_ready(&mut self) {
        let (url, http) = (format!("{}/readyz", self.admin), self.api.http().clone());
        let (child, log) = (&mut self.child, self.state_dir.join("up.log"));
        eventually("`chaser up` is ready", seconds(60), async || {
            if let Some(status) = child.try_wait().unwrap() {
                let said = fs::read_to_string(&log).unwrap_or_default();
                panic!("`chaser up` ended with {status} instead of getting ready:\n{said}");
            }
            let answer = http.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        // For whoever inherits the lab from a killed test.
        let pid = self.pid().to_string();
        fs::write(self.runtime_dir.join("up.pid"), pid).unwrap();
    }
}

impl Drop for Chaser {
    fn drop(&mut self) {
        if thread::panicking() {
            let logs = self.logs();
            let tail: Vec<&str> = logs.lines().rev().take(120).collect();
            for line in tail.iter().rev() {
                eprintln!("  | {line}");
            }
        }
        let held = leftovers::Held::of(self);
        let code = self.terminate(seconds(30));
        if code.is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        let left = held.what_is_left();
        held.remove();
        if !thread::panicking() {
            assert_eq!(
                code,
                Some(0),
                "`chaser up` on SIGTERM; it said:\n{}",
                self.logs()
            );
            assert!(left.is_empty(), "left behind: {left:#?}\n{}", self.logs());
        }
    }
}

fn launch(command: &[String], state_dir: &std::path::Path, host: Option<&str>) -> Child {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(state_dir.join("up.log"))
        .unwrap();
    // `nsenter` becomes what it starts: the pid is the program's.
    let mut words: Vec<String> = host
        .map(|name| vec!["nsenter".to_owned(), format!("--net=/run/netns/{name}")])
        .unwrap_or_default();
    words.push(env!("CARGO_BIN_EXE_chaser").to_owned());
    words.extend_from_slice(command);
    Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}
