//! What a node is told about itself.

use std::time::Duration;

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
    /// The group that may use `R/node.sock` beside root; empty for nobody.
    pub socket_group: String,
    /// Docker's socket.
    pub docker: String,
    /// How long a drain waits for sessions to end by themselves where the order does not say; what
    /// `chaser up` gives them when it is asked to stop.
    #[serde(with = "crate::model::duration")]
    pub drain_deadline: Duration,
    /// What nobody owns is ended, or removed, after this long.
    #[serde(with = "crate::model::duration")]
    pub orphan_grace: Duration,
    /// Whether egress is suspended when the control plane's lease on this node is not renewed.
    pub fence: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_sessions: 0,
            memory_overcommit: 8,
            cpu_overcommit: 64,
            listen: None,
            socket_group: String::new(),
            docker: "/var/run/docker.sock".to_owned(),
            drain_deadline: Duration::from_secs(30),
            orphan_grace: Duration::from_secs(60),
            fence: false,
        }
    }
}
