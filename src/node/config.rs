//! `[node]` of the configuration.

use serde::Deserialize;

/// `[node]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Sessions that may live at once; 0 derives it from the host.
    pub max_sessions: u32,
    /// How many times over the host's memory may be promised in limits; 0 for any number.
    pub memory_overcommit: u32,
    /// How many times over the host's cores may be promised in limits; 0 for any number.
    pub cpu_overcommit: u32,
    /// gRPC over TCP beside `R/node.sock`; none by default.
    pub listen: Option<std::net::SocketAddr>,
    /// Docker's socket.
    pub docker: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_sessions: 0,
            memory_overcommit: 8,
            cpu_overcommit: 64,
            listen: None,
            docker: "/var/run/docker.sock".to_owned(),
        }
    }
}
