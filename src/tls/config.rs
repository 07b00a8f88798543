//! `[tls]` of the configuration.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

/// `[tls]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The certificate that our listeners show, with its chain (PEM); empty for no TLS.
    pub cert: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// The authority (PEM) that clients of `node.listen` must come from.
    pub client_ca: PathBuf,
    /// Their names: SPIFFE ids, common or DNS names; empty for every client of that authority.
    pub client_names: Vec<String>,
    /// Listeners that may be reached in plaintext from other hosts.
    pub insecure: Vec<Listener>,
}

/// A listener that strangers might reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listener {
    /// `api.listen`.
    Api,
    /// `cdp.listen`.
    Cdp,
    /// `admin.listen` and `admin.node_listen`.
    Admin,
    /// `node.listen`.
    Node,
}

impl Listener {
    /// The word of `tls.insecure`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Cdp => "cdp",
            Self::Admin => "admin",
            Self::Node => "node",
        }
    }
}

impl Config {
    /// Whether our listeners speak TLS. Probes and metrics never do.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.cert.as_os_str().is_empty()
    }

    /// Whether `listener` may listen on `address` as things are configured.
    #[must_use]
    pub fn permits(&self, listener: Listener, address: SocketAddr) -> bool {
        let encrypted = match listener {
            Listener::Api | Listener::Cdp => self.is_on(),
            // Without an authority anybody might order this node about.
            Listener::Node => self.is_on() && !self.client_ca.as_os_str().is_empty(),
            Listener::Admin => false,
        };
        encrypted || address.ip().is_loopback() || self.insecure.contains(&listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_this_host_plaintext_must_be_named() {
        let (here, beyond) = ("127.0.0.1:1".parse().unwrap(), "0.0.0.0:1".parse().unwrap());
        let all = [
            Listener::Api,
            Listener::Cdp,
            Listener::Admin,
            Listener::Node,
        ];
        let open = |config: &Config| all.map(|one| config.permits(one, beyond));
        let mut config = Config::default();
        assert!(all.iter().all(|one| config.permits(*one, here)));
        assert_eq!(open(&config), [false; 4]);
        config.cert = "cert.pem".into();
        assert_eq!(open(&config), [true, true, false, false]);
        config.client_ca = "ca.pem".into();
        assert_eq!(open(&config), [true, true, false, true]);
        config.insecure = vec![Listener::Admin];
        assert_eq!(open(&config), [true; 4]);
        assert!(
            !config.permits(Listener::Admin, beyond) || config.insecure.contains(&Listener::Admin)
        );
    }
}
