//! What a session has moved.

use serde::{Deserialize, Serialize};

/// Payload bytes and connections; monotone while the session lives, final once it has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Written to the outer leg of the egress proxy.
    pub up: u64,
    /// Read from the outer leg of the egress proxy.
    pub down: u64,
    /// Received from CDP clients.
    pub cdp_up: u64,
    /// Sent to CDP clients.
    pub cdp_down: u64,
    /// Connections of the outer leg that were made, open or not.
    #[serde(default)]
    pub connections: u64,
}

/// Bytes of one host among those that a session was connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTraffic {
    /// Its name or address, as pages asked for it; `None` stands for all others together.
    pub host: Option<String>,
    /// Written.
    pub up: u64,
    /// Read.
    pub down: u64,
}

impl HostTraffic {
    /// Both together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.up.saturating_add(self.down)
    }
}

impl Traffic {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            up: self.up.saturating_add(other.up),
            down: self.down.saturating_add(other.down),
            cdp_up: self.cdp_up.saturating_add(other.cdp_up),
            cdp_down: self.cdp_down.saturating_add(other.cdp_down),
            connections: self.connections.saturating_add(other.connections),
        }
    }

    /// The larger of each count: how two sightings of a monotone meter are merged.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            up: self.up.max(other.up),
            down: self.down.max(other.down),
            cdp_up: self.cdp_up.max(other.cdp_up),
            cdp_down: self.cdp_down.max(other.cdp_down),
            connections: self.connections.max(other.connections),
        }
    }
}
