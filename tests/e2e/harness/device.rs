//! A container that is like an Android device, by itself: no agent knows of it.

use std::{
    net::TcpStream as StdStream,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use chaser::{
    adb::{Adb, AdbError},
    runtime::Tasks,
};
use tokio::net::TcpStream;

use super::{docker, inside, patience::eventually, seconds};

/// What `make android-like` builds.
pub const IMAGE: &str = "chaser-tests/android-like:latest";
/// How long an adbd may take for its greeting.
pub const GREETING: Duration = Duration::from_secs(2);

/// Fails where there is nothing to test with: a missing device is never a pass.
pub fn require_image() -> String {
    assert!(
        docker::has_image(IMAGE),
        "the image {IMAGE} is missing: `make android-like` builds it"
    );
    IMAGE.to_owned()
}

/// A device without a network; gone with its owner.
pub struct Device {
    name: String,
}

impl Device {
    /// One whose adbd answers.
    pub async fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("chaser-tests-device-{}-{count}", std::process::id());
        docker::run(&[
            "run",
            "--detach",
            "--network=none",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--name",
            &name,
            &require_image(),
        ]);
        let device = Self { name };
        let tasks = Tasks::default();
        eventually("adbd answers", seconds(20), async || {
            device.adb(&tasks).await.ok()
        })
        .await;
        device
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A socket to adbd.
    pub fn dial(&self) -> std::io::Result<TcpStream> {
        let pid = docker::pid(&self.name).expect("it runs");
        let stream = inside(pid, || {
            let stream = StdStream::connect(("127.0.0.1", 5555))?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        })?;
        TcpStream::from_std(stream)
    }

    /// A greeted connection.
    pub async fn adb(&self, tasks: &Tasks) -> Result<Adb, AdbError> {
        let stream = self
            .dial()
            .map_err(|error| AdbError::Lost(chaser::adb::Lost::Broken(error.kind())))?;
        Adb::greet(stream, GREETING, tasks).await
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

impl Drop for Device {
    fn drop(&mut self) {
        docker::remove(&self.name);
    }
}
