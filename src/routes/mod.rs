//! Egress routes: which local address a session's connections leave from, and who holds it.

use std::{net::IpAddr, time::Duration};

use serde::Deserialize;

/// `[egress]` of the configuration: the addresses and the policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Local addresses that sessions leave from. Empty: the host's default address, shared by all.
    pub addresses: Vec<IpAddr>,
    /// How many sessions may hold one address at a time.
    pub sessions_per_address: u32,
    /// How long an address rests after its last session.
    #[serde(with = "crate::model::duration")]
    pub cooldown: Duration,
    /// CIDRs that pages may reach although they are in the built-in deny list.
    pub allow: Vec<ipnet::IpNet>,
    /// `ip:port` of the name servers; empty means those of the host.
    pub nameservers: Vec<std::net::SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            sessions_per_address: 1,
            cooldown: Duration::ZERO,
            allow: Vec::new(),
            nameservers: Vec::new(),
        }
    }
}
