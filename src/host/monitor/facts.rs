//! What was measured, as plain data: everything that [`judge`](super::judge()) looks at.

use std::{path::PathBuf, time::Duration};

/// One look at everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// What the kernel says.
    pub kernel: Kernel,
    /// Whether Docker answers.
    pub docker: Beat,
    /// Whether its events are heard.
    pub docker_events: Beat,
    /// Whether the relay answers.
    pub relay: Beat,
    /// Egress routes that cannot be used now.
    pub lost_routes: Vec<LostRoute>,
    /// The instance that has been leaving for the longest time.
    pub leaving: Option<Stuck>,
}

/// What the kernel says; `None` where it does not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kernel {
    /// Memory of the host.
    pub memory: Option<Memory>,
    /// PSI of memory, `full avg10`: thousandths of the time; `None` where the kernel has no PSI.
    pub pressure_permille: Option<u32>,
    /// The file systems that are written to.
    pub filesystems: Vec<Filesystem>,
    /// Descriptors of this process and of the host.
    pub descriptors: Vec<Usage>,
    /// Threads of the host.
    pub threads: Option<Usage>,
    /// The last step of the wall clock.
    pub jump: Option<Jump>,
}

/// Memory, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// What could be used without swapping.
    pub available: u64,
    /// All there is.
    pub total: u64,
}

/// One file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// A directory on it.
    pub path: PathBuf,
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// Inodes that can still be made.
    pub free_inodes: u64,
    /// All inodes; 0 for file systems that make them as they go.
    pub inodes: u64,
}

/// How much of something is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Whose it is: `this process`, `the host`.
    pub of: &'static str,
    /// In use.
    pub used: u64,
    /// At most.
    pub limit: u64,
}

/// A step of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// How far; forward is positive.
    pub millis: i64,
    /// How long ago it was seen.
    pub ago: Duration,
}

/// Whether somebody answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// For how long it has not; zero when it does.
    pub silent_for: Duration,
    /// What the last attempt said.
    pub why: String,
}

/// A route that cannot be used: what it needs is not this host's, or its upstream is out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRoute {
    /// Its name.
    pub route: String,
    /// For how long.
    pub gone_for: Duration,
    /// How many sessions leave by it.
    pub sessions: usize,
}

/// What should be gone and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// What it is called.
    pub name: String,
    /// For how long it has been going.
    pub leaving_for: Duration,
    /// How many are going in all.
    pub count: usize,
}
