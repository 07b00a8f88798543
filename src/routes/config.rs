//! `[egress]`: where routes come from, and the policy.

use std::{
    fs,
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
    /// Whether a session whose route is lost for good goes on by way of another one of its region.
    pub failover: bool,
    /// CIDRs that pages may reach although they are in the built-in deny list.
    pub allow: Vec<ipnet::IpNet>,
    /// CIDRs that pages may not reach, whatever `allow` says.
    pub deny: Vec<ipnet::IpNet>,
    /// Ports likewise.
    pub deny_ports: Vec<u16>,
    /// A file of names likewise, each with all below it; empty means none.
    pub deny_hosts: PathBuf,
    /// Of so many hosts of each session the bytes are shown, those with the most; 0 counts none.
    pub top_hosts: u32,
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
            failover: false,
            allow: Vec::new(),
            deny: Vec::new(),
            deny_ports: Vec::new(),
            deny_hosts: PathBuf::new(),
            top_hosts: 0,
            nameservers: Vec::new(),
        }
    }
}

/// A list of names that is longer is refused, bytes: it goes to the relay in one message.
const LONGEST_LIST: usize = 3 << 20;

impl Config {
    /// The names of `deny_hosts`, one a line.
    ///
    /// # Errors
    /// [`Refused`] where the file cannot be read, or is too long.
    pub fn denied_hosts(&self) -> Result<String, Refused> {
        if self.deny_hosts.as_os_str().is_empty() {
            return Ok(String::new());
        }
        let refused = |why: String| Refused::Unreadable {
            path: self.deny_hosts.clone(),
            why,
        };
        let text =
            fs::read_to_string(&self.deny_hosts).map_err(|error| refused(error.to_string()))?;
        let names = names(&text);
        if names.len() > LONGEST_LIST {
            return Err(refused(format!("more than {LONGEST_LIST} bytes of names")));
        }
        Ok(names)
    }

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

/// Names of a list as they are published: one a line, or behind an address as in `/etc/hosts`; comments
/// begin with `#`.
fn names(text: &str) -> String {
    let mut names = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let words = line.split_ascii_whitespace();
        for word in words.filter(|word| word.parse::<IpAddr>().is_err()) {
            let name = word.trim_start_matches("*.").trim_matches('.');
            if !name.is_empty() && name != "localhost" {
                names.push_str(&name.to_ascii_lowercase());
                names.push('\n');
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_they_are_published() {
        let list = "# ads\n0.0.0.0 Ads.Example tracker.example # both\n\n*.metrics.example\n\
                    127.0.0.1 localhost\n::1 localhost\nplain.example.\n";
        let expected = "ads.example\ntracker.example\nmetrics.example\nplain.example\n";
        assert_eq!(names(list), expected);
    }
}
