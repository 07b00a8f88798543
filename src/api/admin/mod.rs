//! Probes and metrics, on a listener of their own.

use std::net::SocketAddr;

use serde::Deserialize;

/// `[admin]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where probes and metrics are served.
    pub listen: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7703)),
        }
    }
}
