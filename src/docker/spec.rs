//! What to create: one container, in our own words.

use std::collections::BTreeMap;

/// One container to create. Its network is always `none`, and Docker never removes it by itself:
/// exit code and OOM mark are evidence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerSpec {
    /// Image name or id.
    pub image: String,
    /// Arguments of the image's entry point.
    pub command: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// `uid:gid`.
    pub user: String,
    /// Labels; they cannot change afterwards.
    pub labels: BTreeMap<String, String>,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Path to mount options.
    pub tmpfs: BTreeMap<String, String>,
    /// Size of `/dev/shm`.
    pub shm_bytes: u64,
    /// Memory limit, tmpfs included.
    pub memory_bytes: u64,
    /// CPU limit, thousandths of a core.
    pub cpu_millis: u32,
    /// Process limit.
    pub pids: u32,
    /// Capabilities to take away.
    pub cap_drop: Vec<String>,
    /// `no-new-privileges`, `seccomp=<JSON>`.
    pub security_opt: Vec<String>,
    /// OCI runtime, empty for Docker's default.
    pub runtime: String,
    /// Size limit of the container's log.
    pub log_max_bytes: u64,
    /// What `stop` sends, where it is not SIGTERM.
    pub stop_signal: Option<String>,
}
