//! How a session's connections leave: what the agent tells the relay with a claim.
//!
//! Secrets are in it, so it has one road: the relay's Unix socket. Nothing here can be serialised,
//! and what `Debug` prints names no user and no password.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use secrecy::SecretString;

use crate::model::{Bounds, Limits, UnknownWord};

/// The way out of one session.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// The local address of connections; `None` leaves it to the host.
    pub source: Option<IpAddr>,
    /// The network interface that connections leave through; empty leaves it to the host's routes.
    pub interface: String,
    /// Where connections go instead of to their targets.
    pub upstream: Option<Upstream>,
    /// Who is asked for the addresses of names, from `source`; empty: whom the node asks.
    pub nameservers: Vec<SocketAddr>,
    /// What a browser at the end of it would say of where it is.
    pub place: Place,
    /// What the session may take of it.
    pub limits: Limits,
    /// Where it may lead: within each of them.
    pub bounds: Vec<Bounds>,
}

/// What a browser says of where it is; what is empty is left to its device profile.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Place {
    /// IANA name.
    pub time_zone: String,
    /// In order of preference.
    pub languages: Vec<String>,
    /// Where on earth, for pages that may ask.
    pub position: Option<Position>,
}

/// A position on earth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Degrees, north positive.
    pub latitude: f64,
    /// Degrees, east positive.
    pub longitude: f64,
    /// Metres.
    pub accuracy: f64,
}

/// A proxy that connects on our behalf. Names are resolved by it.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// What it speaks.
    pub scheme: Scheme,
    /// Its address or its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What it is told of us.
    pub login: Option<Login>,
    /// PEM of who may vouch for it, for [`Scheme::Https`]; empty means whom the host trusts.
    pub ca: String,
    /// A client named it: then it must pass the policy like any target of a page.
    pub is_foreign: bool,
}

/// User and password; both are secrets, because providers put a customer's account into the name.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user.
    pub username: SecretString,
    /// The password.
    pub password: SecretString,
}

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `CONNECT` of HTTP/1.1.
    Http,
    /// The same, inside TLS.
    Https,
    /// SOCKS5 (RFC 1928), with RFC 1929 for a login.
    Socks5,
}

impl Scheme {
    /// The word of URLs and of the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scheme {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            // The `h` of curl: names are resolved by the proxy, which is what we always do.
            "socks5" | "socks5h" => Ok(Self::Socks5),
            _ => Err(UnknownWord {
                word: word.to_owned(),
                allowed: "http, https, socks5".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_of_a_way_holds_no_secret() {
        let secret = |text: &str| SecretString::from(text.to_owned());
        let way = Way {
            upstream: Some(Upstream {
                scheme: Scheme::Socks5,
                host: "gate.example".to_owned(),
                port: 1080,
                login: Some(Login {
                    username: secret("customer-7"),
                    password: secret("hunter2"),
                }),
                ca: String::new(),
                is_foreign: false,
            }),
            ..Way::default()
        };
        let printed = format!("{way:?}");
        assert!(printed.contains("gate.example"));
        assert!(!printed.contains("customer-7") && !printed.contains("hunter2"));
    }

    #[test]
    fn schemes_are_read_as_they_are_written() {
        for scheme in [Scheme::Http, Scheme::Https, Scheme::Socks5] {
            assert_eq!(scheme.as_str().parse(), Ok(scheme));
        }
        let refusal = "ftp".parse::<Scheme>().unwrap_err();
        assert!(refusal.to_string().contains("socks5"));
    }
}
