//! `host:port`, parsed once and strictly: whatever two parsers could read differently is refused.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::refusal::Malformed;

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Whom a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) host: Host,
    pub(super) port: u16,
}

/// An address or a name to look up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Ip(IpAddr),
    /// Lower case, without the root's dot.
    Name(String),
}

impl Authority {
    /// Reads `host` or `host:port`; without a port there must be a default.
    pub(super) fn parse(text: &str, default_port: Option<u16>) -> Result<Self, Malformed> {
        let (host, port) = split(text)?;
        let port = match (port, default_port) {
            (Some(port), _) => parse_port(port)?,
            (None, Some(port)) => port,
            (None, None) => return Err(Malformed("no port in the target")),
        };
        let host = match host.strip_prefix('[') {
            Some(v6) => parse_v6(v6)?,
            None => parse_name(host)?,
        };
        Ok(Self { host, port })
    }

    /// Its name, where it is not an address.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Name(name) => Some(name),
            Host::Ip(_) => None,
        }
    }
}

impl Host {
    /// Whether the name means this machine whatever a name server says (RFC 6761).
    pub(super) fn is_localhost(&self) -> bool {
        match self {
            Self::Ip(_) => false,
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]:{}", self.port),
            Host::Ip(IpAddr::V4(v4)) => write!(f, "{v4}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Splits the port off; a bracket belongs to the host.
fn split(text: &str) -> Result<(&str, Option<&str>), Malformed> {
    let end = if text.starts_with('[') {
        text.find(']').map(|at| at + 1)
    } else {
        Some(text.find(':').unwrap_or(text.len()))
    };
    let (host, rest) = end
        .and_then(|at| text.split_at_checked(at))
        .ok_or(Malformed("an unclosed bracket in the target"))?;
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(Malformed("text after the target's address")),
    }
}

fn parse_port(text: &str) -> Result<u16, Malformed> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(Malformed("a bad port in the target")),
    }
}

fn parse_v6(bracketed: &str) -> Result<Host, Malformed> {
    bracketed
        .strip_suffix(']')
        .and_then(|inner| inner.parse::<Ipv6Addr>().ok())
        .map(|v6| Host::Ip(v6.into()))
        .ok_or(Malformed("a bad IPv6 address in the target"))
}

fn parse_name(text: &str) -> Result<Host, Malformed> {
    if let Ok(v4) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(v4.into()));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let fine = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() > MAX_NAME || !name.split('.').all(fine) {
        return Err(Malformed("a bad name in the target"));
    }
    if ends_in_a_number(&name) {
        return Err(Malformed("a number that is no address in the target"));
    }
    Ok(Host::Name(name))
}

/// `127.1`, `0x7f.1`, `2130706433`: some resolvers take these for addresses (WHATWG URL, "ends in a
/// number"). Browsers have rewritten them long before they come here.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last.strip_prefix("0x");
    last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<String> {
        Authority::parse(text, Some(80)).ok().map(|a| a.to_string())
    }

    #[test]
    fn hosts_and_ports_are_read() {
        for (text, read) in [
            ("example.com", "example.com:80"),
            ("Example.COM.:8080", "example.com:8080"),
            ("my_host-1.example:1", "my_host-1.example:1"),
            ("1.2.3.4:443", "1.2.3.4:443"),
            ("[2606:4700::1111]:443", "[2606:4700::1111]:443"),
            ("[::1]", "[::1]:80"),
        ] {
            assert_eq!(parse(text).as_deref(), Some(read), "{text}");
        }
        Authority::parse("example.com", None).unwrap_err();
    }

    #[test]
    fn what_could_be_read_twice_is_refused() {
        for text in [
            "",
            ":80",
            ".",
            "..",
            "a..b",
            "a:",
            "a:0",
            "a:65536",
            "a:+80",
            "a:80:80",
            "a: 80",
            "a:080000",
            "u@a",
            "u:p@a",
            "a%2e",
            "a b",
            "a\0",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "ä.example",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]80",
            "[fe80::1%eth0]",
            "[1.2.3.4]",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "01.2.3.4",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.4.",
            "0x",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"a".repeat(64)), None);
        assert_eq!(parse(&["a"; 128].join(".")), None);
    }

    #[test]
    fn localhost_is_known_in_every_spelling() {
        for (text, is) in [
            ("localhost", true),
            ("LOCALHOST.", true),
            ("a.b.localhost", true),
            ("localhost.example", false),
            ("notlocalhost", false),
        ] {
            let authority = Authority::parse(text, Some(80)).unwrap();
            assert_eq!(authority.host.is_localhost(), is, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_reads_the_same_again(text in "\\PC{0,40}|[a-z0-9.:\\[\\]@-]{0,30}") {
            if let Some(once) = parse(&text) {
                let again = parse(&once);
                prop_assert_eq!(again, Some(once));
            }
        }
    }
}
