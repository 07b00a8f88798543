//! A container that is like an Android device, by itself: no agent knows of it.

use std::{
    net::TcpStream as StdStream,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use chaser::{
    adb::{Adb, AdbError, Hello, Lost},
    runtime::Tasks,
};
use tokio::net::TcpStream;

use super::{docker, inside, patience::eventually, seconds};

/// What `make android-like` builds.
const IMAGE: &str = "chaser-tests/android-like:latest";
/// What `make android-guest` builds.
const GUEST: &str = "chaser-tests/android-guest:latest";
/// What `make android-tap` builds.
const BEHIND_TAP: &str = "chaser-tests/android-tap:latest";
/// How long an adbd may take for its greeting.
pub const GREETING: Duration = Duration::from_secs(2);

/// The stand-in for a device.
pub fn require_image() -> String {
    required(IMAGE, "android-like")
}

/// The guest, which has a kernel of its own and no browser.
pub fn require_guest() -> String {
    required(GUEST, "android-guest")
}

/// The guest behind a tap, which has a kernel of its own and a browser.
pub fn require_behind_tap() -> String {
    required(BEHIND_TAP, "android-tap")
}

/// Fails where there is nothing to test with: a missing device is never a pass.
fn required(image: &str, target: &str) -> String {
    assert!(
        docker::has_image(image),
        "the image {image} is missing: `make {target}` builds it"
    );
    image.to_owned()
}

/// A socket to a port of a container's own.
pub fn dial(container: &str, port: u16) -> std::io::Result<TcpStream> {
    let pid = docker::pid(container).expect("it runs");
    let stream = inside(pid, move || {
        let stream = StdStream::connect(("127.0.0.1", port))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(stream)
    })?;
    TcpStream::from_std(stream)
}

/// A device without a network; gone with its owner.
pub struct Device {
    name: String,
}

impl Device {
    /// One whose adbd answers, and asks nobody for a key.
    pub async fn start() -> Self {
        let (device, tasks) = (Self::begin(&[]), Tasks::default());
        eventually("adbd answers", seconds(20), async || {
            device.adb(&tasks).await.ok()
        })
        .await;
        device
    }

    /// One that was given such arguments, and may answer nobody yet.
    pub fn begin(arguments: &[&str]) -> Self {
        Self::run(&require_image(), arguments)
    }

    /// A guest that begins to boot.
    pub fn guest() -> Self {
        Self::run(&require_guest(), &[])
    }

    fn run(image: &str, arguments: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("chaser-tests-device-{}-{count}", std::process::id());
        let run = [
            "run",
            "--detach",
            "--network=none",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--name",
            &name,
            image,
        ];
        docker::run(&[&run, arguments].concat());
        Self { name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A socket to adbd.
    pub fn dial(&self) -> std::io::Result<TcpStream> {
        self.dial_port(5555)
    }

    /// A socket to a port of its own.
    fn dial_port(&self, port: u16) -> std::io::Result<TcpStream> {
        dial(&self.name, port)
    }

    /// A greeted connection.
    pub async fn adb(&self, tasks: &Tasks) -> Result<Adb, AdbError> {
        self.greet(5555, Hello::keyless(GREETING), tasks).await
    }

    /// The same, as is said, with whoever is an adbd on that port.
    pub async fn greet(&self, port: u16, how: Hello<'_>, tasks: &Tasks) -> Result<Adb, AdbError> {
        let stream = self
            .dial_port(port)
            .map_err(|error| AdbError::Lost(Lost::Broken(error.kind())))?;
        Adb::greet(stream, how, tasks).await
    }

    /// What a command in it wrote.
    pub fn exec(&self, line: &str) -> String {
        docker::run(&["exec", &self.name, "sh", "-c", line])
    }

    /// Puts adbkit's adbd in front of its own, at [`Bridge::PORT`], with Google's adb server between.
    pub async fn bridge(&self, manner: &[&str]) -> Bridge {
        let said = self.exec("adb start-server 2>&1; adb connect 127.0.0.1:5555");
        assert!(said.contains("connected to 127.0.0.1:5555"), "{said}");
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("node");
        command
            .args(["adb-device.mjs", "127.0.0.1:5555"])
            .arg(Bridge::PORT.to_string())
            .args(manner)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients"))
            .stdin(Stdio::null())
            .stdout(log.reopen().unwrap());
        let pid = docker::pid(&self.name).expect("it runs");
        let process = inside(pid, move || command.spawn()).expect("Node.js is installed");
        let bridge = Bridge { process, log };
        eventually("the bridge listens", seconds(20), async || {
            bridge.said().contains("listening").then_some(())
        })
        .await;
        bridge
    }

    /// Kills its adbd; its init starts another a second later.
    pub fn kill_adbd(&self) {
        assert!(docker::exec(&self.name, "pkill -9 -x adbd"));
    }

    /// How many descriptors its adbd holds.
    pub fn descriptors_of_adbd(&self) -> usize {
        let count = docker::run(&[
            "exec",
            &self.name,
            "sh",
            "-c",
            "ls /proc/$(pgrep -x adbd)/fd | wc -l",
        ]);
        count.trim().parse().unwrap()
    }
}

/// An adbd of another make; gone with its owner.
pub struct Bridge {
    process: Child,
    log: tempfile::NamedTempFile,
}

impl Bridge {
    /// Where it listens, beside the device's own adbd.
    pub const PORT: u16 = 5556;

    /// What it was asked.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        docker::remove(&self.name);
    }
}
