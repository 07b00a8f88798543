//! `[instance]` of the configuration.

use std::time::Duration;

use serde::Deserialize;

/// `[instance]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the Chromium image.
    pub image: String,
    /// Memory limit of one container, bytes.
    pub memory_bytes: u64,
    /// CPU limit of one container, thousandths of a core.
    pub cpu_millis: u32,
    /// Process limit of one container.
    pub pids: u32,
    /// `/dev/shm` of one container, bytes.
    pub shm_bytes: u64,
    /// `/tmp` and profile of one container (tmpfs, counted as its memory), bytes.
    pub scratch_bytes: u64,
    /// OCI runtime: empty for Docker's default, `runsc`, `kata`, ….
    pub runtime: String,
    /// From the first Docker call to an attached phone; longer is a failure.
    #[serde(with = "crate::model::duration")]
    pub start_timeout: Duration,
    /// How long a browser may answer nobody before it counts as dead.
    #[serde(with = "crate::model::duration")]
    pub hang_timeout: Duration,
    /// How many containers may start at once.
    pub concurrent_starts: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            image: "chaser/chromium:latest".to_owned(),
            memory_bytes: 2 << 30,
            cpu_millis: 2_000,
            pids: 512,
            shm_bytes: 256 << 20,
            scratch_bytes: 512 << 20,
            runtime: String::new(),
            start_timeout: Duration::from_secs(60),
            hang_timeout: Duration::from_secs(30),
            concurrent_starts: 4,
        }
    }
}
