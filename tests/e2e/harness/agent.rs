//! The agent alone, as `chaser node`: what a control plane elsewhere works with.

use std::{
    fs::{self, OpenOptions},
    net::IpAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use chaser::wire::node::NodeState;
use nix::sys::signal::Signal;

use super::{
    Lab, Node, docker,
    patience::{blocking, eventually, seconds},
    processes,
};

/// A running `chaser node`. Dropping it drains and stops it, and looks for what it left behind.
pub struct Agent {
    child: Child,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    pub runtime_dir: PathBuf,
    pub state_dir: PathBuf,
    pub cdp: String,
    pub admin: String,
    pub node: Node,
    pub node_id: String,
}

impl Agent {
    pub async fn start(lab: &Lab, config: &str) -> Self {
        Self::start_in(lab, config, Vec::new()).await
    }

    /// The same in an environment.
    pub async fn start_in(
        lab: &Lab,
        config: &str,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let addresses = lab.egress_addresses(12);
        Self::start_with(lab, config, (&addresses, Vec::new()), environment).await
    }

    /// The same, begun by other words than its own, which become it.
    pub async fn start_under(lab: &Lab, config: &str, before: Vec<String>) -> Self {
        let addresses = lab.egress_addresses(12);
        Self::start_with(lab, config, (&addresses, before), Vec::new()).await
    }

    /// In the lab's own network, where it leaves from whatever address there is.
    pub async fn start_inside(lab: &Lab, config: &str) -> Self {
        let words = lab.words_of_inside().to_vec();
        Self::start_with(lab, config, (&[], words), Vec::new()).await
    }

    async fn start_with(
        lab: &Lab,
        config: &str,
        (addresses, before): (&[IpAddr], Vec<String>),
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        docker::require_image();
        let (home, runtime_dir) = (lab.state_dir(), lab.runtime_dir());
        fs::create_dir_all(&home).unwrap();
        let file = home.join("chaser.toml");
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        fs::write(
            &file,
            format!(
                "{config}\n[egress]\nsessions_per_address = 6\naddresses = {addresses:?}\nallow = [\"{}/32\"]\n",
                lab.origin_ip()
            ),
        )
        .unwrap();
        let (state_dir, cdp) = (home.join("S"), format!("127.0.0.1:{}", lab.port(1)));
        let admin = format!("127.0.0.1:{}", lab.port(3));
        let words = [
            env!("CARGO_BIN_EXE_chaser"),
            "node",
            "--config",
            file.to_str().unwrap(),
            "--state-dir",
            state_dir.to_str().unwrap(),
            "--runtime-dir",
            runtime_dir.to_str().unwrap(),
            "--cdp-listen",
            &cdp,
            "--admin-listen",
            &admin,
        ];
        let words = words.map(str::to_owned);
        let arguments: Vec<_> = before.into_iter().chain(words).collect();
        let mut agent = Self {
            child: launch(&arguments, &home, ("", &environment)),
            arguments,
            environment,
            node: Node::new(runtime_dir.join("node.sock")),
            runtime_dir,
            state_dir,
            cdp,
            admin: format!("http://{admin}"),
            node_id: String::new(),
        };
        agent.wait_until(NodeState::Ready).await;
        agent.node_id = agent.node.status().await.node_id;
        fs::write(agent.runtime_dir.join("node.id"), &agent.node_id).unwrap();
        agent
    }

    pub async fn wait_until(&mut self, state: NodeState) {
        let socket = self.runtime_dir.join("node.sock");
        let (node, child) = (self.node.clone(), &mut self.child);
        eventually(
            &format!("the agent is {state:?}"),
            seconds(30),
            async || {
                let ended = child.try_wait().unwrap();
                assert!(ended.is_none(), "the agent ended: {ended:?}");
                tokio::net::UnixStream::connect(&socket).await.ok()?;
                (node.status().await.state() == state).then_some(())
            },
        )
        .await;
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn relay_pid(&self) -> u32 {
        let text = fs::read_to_string(self.runtime_dir.join("relay.pid")).unwrap();
        text.trim().parse().unwrap()
    }

    pub fn sigkill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; the exit code.
    pub fn terminate(&mut self, within: Duration) -> Option<i32> {
        processes::signal(self.child.id(), Signal::SIGTERM);
        blocking(within, || self.child.try_wait().unwrap().is_some())
            .then(|| self.child.wait().unwrap().code())
            .flatten()
    }

    /// The same command once more.
    pub fn launch(&mut self) {
        self.launch_to_die_at("");
    }

    /// The same command once more, to be killed at a failpoint.
    pub fn launch_to_die_at(&mut self, point: &str) {
        let home = self.state_dir.parent().unwrap();
        self.child = launch(&self.arguments, home, (point, &self.environment));
    }

    /// Waits for the death that was arranged.
    #[cfg(feature = "failpoints")]
    pub async fn death(&mut self, point: &str) {
        let child = &mut self.child;
        eventually(&format!("death at `{point}`"), seconds(20), async || {
            child.try_wait().unwrap()
        })
        .await;
    }

    /// Starts it with other words; what it said when it refused, and its exit code.
    pub async fn second(&self, runtime_dir: &str) -> (Option<i32>, String) {
        let mut words = self.arguments.clone();
        let at = words
            .iter()
            .position(|word| word == "--runtime-dir")
            .unwrap();
        runtime_dir.clone_into(&mut words[at + 1]);
        let run = tokio::process::Command::new(&words[0])
            .args(&words[1..])
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(seconds(10), run).await;
        let output = output.expect("the second agent refuses at once").unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }

    /// One of the operator's commands on this node.
    pub async fn says(&self, words: &[&str]) -> (i32, String) {
        let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_chaser"))
            .arg("node")
            .args(words)
            .arg("--runtime-dir")
            .arg(&self.runtime_dir)
            .output();
        let output = run.await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        let code = output.status.code().unwrap();
        (code, String::from_utf8(text).unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.state_dir.with_file_name("up.log");
            eprintln!("{}", fs::read_to_string(log).unwrap_or_default());
            drop(self.child.kill());
            drop(self.child.wait());
            // The relay goes with the lab's next owner.
            docker::remove_all_of(&self.node_id);
            return;
        }
        let drained = Command::new(env!("CARGO_BIN_EXE_chaser"))
            .args(["node", "drain", "--deadline", "0s", "--runtime-dir"])
            .arg(&self.runtime_dir)
            .output()
            .unwrap();
        let relay = self.relay_pid();
        let code = self.terminate(seconds(20));
        if code.is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        let lived = processes::lives(relay);
        processes::signal(relay, Signal::SIGTERM);
        let gone = blocking(seconds(10), || !processes::lives(relay));
        let left = docker::containers_of(&self.node_id);
        docker::remove_all_of(&self.node_id);
        let said = String::from_utf8_lossy(&drained.stderr).into_owned();
        assert!(drained.status.success(), "the drain: {said}");
        assert_eq!(code, Some(0), "`chaser node` on SIGTERM");
        assert!(lived, "the relay outlives its agent");
        assert!(gone, "the relay stops when it is told to");
        assert!(left.is_empty(), "left behind: {left:?}");
        let counters = processes::files_below(&self.runtime_dir.join("meter"));
        assert!(counters.is_empty(), "left behind: {counters:?}");
    }
}

fn launch(
    arguments: &[String],
    home: &std::path::Path,
    (failpoint, environment): (&str, &[(&'static str, String)]),
) -> Child {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(home.join("up.log"))
        .unwrap();
    Command::new(&arguments[0])
        .args(&arguments[1..])
        .env("FAILPOINT", failpoint)
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}
