//! `[egress]`: where routes come from, and the policy.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::Deserialize;

use super::{Refused, Route, from_file, read};

/// `[egress]` of the configuration: the addresses and the policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Local addresses that sessions leave from. Empty, and no `routes` either: the host's default
    /// address, shared by all.
    pub addresses: Vec<IpAddr>,
    /// How many sessions may hold one of these addresses at a time.
    pub sessions_per_address: u32,
    /// How long one of these addresses rests after its last session.
    #[serde(with = "crate::model::duration")]
    pub cooldown: Duration,
    /// A TOML file of `[[route]]` tables; empty means none.
    pub routes: PathBuf,
    /// `http://…` that answers the address it was asked from; empty: upstreams are not looked at.
    pub probe_url: String,
    /// Between two looks at each upstream.
    #[serde(with = "crate::model::duration")]
    pub probe_interval: Duration,
    /// CIDRs that pages may reach although they are in the built-in deny list.
    pub allow: Vec<ipnet::IpNet>,
    /// `ip:port` of the name servers; empty means those of the host.
    pub nameservers: Vec<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            sessions_per_address: 1,
            cooldown: Duration::ZERO,
            routes: PathBuf::new(),
            probe_url: String::new(),
            probe_interval: Duration::from_secs(60),
            allow: Vec::new(),
            nameservers: Vec::new(),
        }
    }
}

impl Config {
    /// Every route that is configured.
    ///
    /// # Errors
    /// [`Refused`] by the first thing that is wrong.
    pub fn all(&self) -> Result<Vec<Route>, Refused> {
        let (sessions, cooldown) = (self.sessions_per_address, self.cooldown);
        let addresses = self.addresses.iter();
        let mut all: Vec<_> = addresses
            .map(|address| Route::at(*address, sessions, cooldown))
            .collect();
        if !self.routes.as_os_str().is_empty() {
            all.extend(from_file(&self.routes)?);
        }
        read::unique(&all)?;
        Ok(all)
    }
}
