//! The host as one thing: admission, status, what it answers to a control plane.

pub mod reconcile;

use serde::Deserialize;

/// `[node]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Sessions that may live at once; 0 derives it from the host's memory.
    pub max_sessions: u32,
    /// gRPC over TCP beside `R/node.sock`; none by default.
    pub listen: Option<std::net::SocketAddr>,
    /// Docker's socket.
    pub docker: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_sessions: 0,
            listen: None,
            docker: "/var/run/docker.sock".to_owned(),
        }
    }
}
