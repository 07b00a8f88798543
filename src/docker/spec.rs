//! A container to be.

use std::{collections::BTreeMap, fmt};

/// A container to be. What is not here is the same for all: see the module's documentation.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Name of the image.
    pub image: String,
    /// Arguments for the image's entry point; empty for the image's own.
    pub command: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// `uid:gid`; empty for the image's own.
    pub user: String,
    /// Labels: cannot change after creation.
    pub labels: BTreeMap<String, String>,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Private memory file systems: path → mount options.
    pub tmpfs: BTreeMap<String, String>,
    /// Paths that are volumes of the container's own; they go with it.
    pub volumes: Vec<String>,
    /// Size of `/dev/shm`.
    pub shm_bytes: u64,
    /// Memory limit, swap included.
    pub memory_bytes: u64,
    /// CPU limit, thousandths of a core.
    pub cpu_millis: u32,
    /// Process limit.
    pub pids: u32,
    /// Capabilities to drop; `ALL` drops all.
    pub cap_drop: Vec<String>,
    /// Capabilities that it keeps all the same.
    pub cap_add: Vec<String>,
    /// Device nodes: of the host, and under which name.
    pub devices: Vec<(String, String)>,
    /// Without any wall but namespaces.
    pub privileged: bool,
    /// `no-new-privileges`, `seccomp=<json>`, ….
    pub security_opt: Vec<String>,
    /// OCI runtime; empty for Docker's default.
    pub runtime: String,
    /// The log is cut at this size.
    pub log_max_bytes: u64,
    /// What `stop` sends; `None` for the image's own.
    pub stop_signal: Option<String>,
}

/// Without the seccomp profile, which is ten kilobytes of JSON.
impl fmt::Debug for ContainerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerSpec")
            .field("image", &self.image)
            .field("command", &self.command)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}
