//! The node as it answers `GetNode`, `readyz` and the metrics.

use procfs::Current;

use crate::{model::NodeId, relay::client::Welcome, routes::Occupancy};

/// Whether a node takes sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// Comparing its journal with the host.
    Starting,
    /// Yes.
    Ready,
    /// No, and why.
    NotReady(String),
}

/// The node, seen from outside.
#[derive(Debug, Clone)]
pub struct Status {
    /// Which node.
    pub node: NodeId,
    /// Version of this program.
    pub version: &'static str,
    /// Whether it takes sessions.
    pub state: NodeState,
    /// Sessions that may live at once.
    pub max_sessions: u32,
    /// Sessions that are being made.
    pub creating: u32,
    /// Sessions that serve.
    pub ready: u32,
    /// Sessions that are being ended.
    pub closing: u32,
    /// Instances that are being removed.
    pub destroying: u32,
    /// The configured egress addresses.
    pub addresses: Vec<Occupancy>,
    /// The relay, when there is one.
    pub relay: Option<Welcome>,
    /// Name of the image that sessions run.
    pub image: String,
    /// Memory of the host.
    pub memory: Memory,
}

/// Memory of the host, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// What could be used without swapping.
    pub available: u64,
    /// All of it.
    pub total: u64,
}

impl Memory {
    /// As the kernel says now; zero where it does not say.
    #[must_use]
    pub fn now() -> Self {
        let read = procfs::Meminfo::current();
        read.map_or_else(
            |_unreadable| Self::default(),
            |info| Self {
                available: info.mem_available.unwrap_or(info.mem_free),
                total: info.mem_total,
            },
        )
    }
}

impl NodeState {
    /// The reason, where there is one.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Starting => "comparing the journal with the host",
            Self::Ready => "",
            Self::NotReady(why) => why,
        }
    }
}
