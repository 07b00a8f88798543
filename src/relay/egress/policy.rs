//! Which addresses a page may reach. Pure: an address and a port in, a verdict out.
//!
//! The built-in list denies whatever is not the public internet, because the proxy runs on the
//! host: what a page may reach through it is what the page may attack. `allow` beats every denial,
//! port and own addresses included; so do single endpoints, which free nothing beside themselves. What
//! an operator denies is denied before anything is allowed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::model::Hosts;

/// The built-in list with an operator's exceptions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    allow: Vec<IpNet>,
    endpoints: Vec<SocketAddr>,
    deny: Vec<IpNet>,
    ports: Vec<u16>,
    hosts: Hosts,
}

/// May this address be reached?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allowed,
    /// No, and why.
    Denied(Ground),
}

/// Why an address is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// 127.0.0.0/8, `::1`, `localhost`.
    Loopback,
    /// RFC 1918 and unique-local.
    Private,
    /// 169.254.0.0/16 and `fe80::/10`.
    LinkLocal,
    /// Where clouds tell machines their secrets.
    Metadata,
    /// Carrier-grade NAT, 100.64.0.0/10.
    SharedAddress,
    /// One to many, broadcast included.
    Multicast,
    /// Unspecified, documentation, benchmarks, discard, reserved, not handed out.
    Reserved,
    /// An IPv4 address in an IPv6 one: mapped, compatible, translated, tunnelled.
    Embedded,
    /// The host itself.
    OwnAddress,
    /// An operator's own denial.
    Configured,
    /// The same, of a port.
    ConfiguredPort,
    /// Port 25: a page that talks to mail servers sends spam.
    MailPort,
}

impl Ground {
    /// The word of the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link_local",
            Self::Metadata => "metadata",
            Self::SharedAddress => "shared_address",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
            Self::Embedded => "embedded",
            Self::OwnAddress => "own_address",
            Self::Configured => "configured",
            Self::ConfiguredPort => "configured_port",
            Self::MailPort => "mail_port",
        }
    }
}

const SMTP: u16 = 25;

impl Policy {
    /// The built-in list, less `allow`.
    #[must_use]
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self {
            allow,
            ..Self::default()
        }
    }

    /// And denying these as well.
    #[must_use]
    pub fn but_not(self, deny: Vec<IpNet>, ports: Vec<u16>, hosts: Hosts) -> Self {
        Self {
            deny,
            ports,
            hosts,
            ..self
        }
    }

    /// Whether a name must not even be looked up.
    #[must_use]
    pub fn denies_name(&self, name: &str) -> bool {
        self.hosts.holds(name)
    }

    /// And less these.
    #[must_use]
    pub fn and_endpoints(self, endpoints: Vec<SocketAddr>) -> Self {
        Self { endpoints, ..self }
    }

    /// Whether `ip:port` may be reached from a host whose own addresses are `own`.
    #[must_use]
    pub fn verdict(&self, ip: IpAddr, port: u16, own: &[IpAddr]) -> Verdict {
        let endpoint = SocketAddr::new(ip, port);
        if self.endpoints.contains(&endpoint) {
            return Verdict::Allowed;
        }
        if self.deny.iter().any(|net| net.contains(&ip)) {
            return Verdict::Denied(Ground::Configured);
        }
        if self.ports.contains(&port) {
            return Verdict::Denied(Ground::ConfiguredPort);
        }
        if self.allow.iter().any(|net| net.contains(&ip)) {
            return Verdict::Allowed;
        }
        let special = match ip {
            IpAddr::V4(v4) => special_v4(v4),
            IpAddr::V6(v6) => special_v6(v6),
        };
        let ground = special.or_else(|| own.contains(&ip).then_some(Ground::OwnAddress));
        ground.map_or_else(|| self.of_port(port), Verdict::Denied)
    }

    /// Whether `port` may be reached at all, where nothing is known of the address.
    #[must_use]
    pub fn of_port(&self, port: u16) -> Verdict {
        match port {
            SMTP => Verdict::Denied(Ground::MailPort),
            denied if self.ports.contains(&denied) => Verdict::Denied(Ground::ConfiguredPort),
            _ => Verdict::Allowed,
        }
    }
}

/// Why an IPv4 address is not the public internet (IANA's special-purpose registry).
fn special_v4(ip: Ipv4Addr) -> Option<Ground> {
    match ip.octets() {
        // Amazon, Google, Azure, Oracle and others; Alibaba; Oracle's second; Azure's wire server.
        [169, 254, 169, 254] | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => {
            Some(Ground::Metadata)
        }
        [127, ..] => Some(Ground::Loopback),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some(Ground::Private),
        [169, 254, ..] => Some(Ground::LinkLocal),
        [100, 64..=127, ..] => Some(Ground::SharedAddress),
        [224..=239, ..] | [255, 255, 255, 255] => Some(Ground::Multicast),
        [0 | 240..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Some(Ground::Reserved),
        _ => None,
    }
}

/// Why an IPv6 address is not the public internet.
fn special_v6(ip: Ipv6Addr) -> Option<Ground> {
    match ip.segments() {
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            Some(Ground::Metadata)
        }
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(Ground::Reserved),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Ground::Loopback),
        // Compatible, mapped, translated (RFC 2765), NAT64 of both kinds.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]
        | [0x64, 0xff9b, 1, ..] => Some(Ground::Embedded),
        // 6to4 and Teredo: as bad as what they carry.
        [0x2002, high, low, ..] => carried(high, low),
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            carried(server_high, server_low).or_else(|| carried(!high, !low))
        }
        [0xfe80..=0xfebf, ..] => Some(Ground::LinkLocal),
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some(Ground::Private),
        [0xff00..=0xffff, ..] => Some(Ground::Multicast),
        // IETF protocol assignments, documentation twice.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => {
            Some(Ground::Reserved)
        }
        [0x2000..=0x3fff, ..] => None,
        // Global unicast is 2000::/3; nothing else was ever handed out.
        _ => Some(Ground::Reserved),
    }
}

fn carried(high: u16, low: u16) -> Option<Ground> {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    special_v4(Ipv4Addr::new(a, b, c, d)).map(|_ground| Ground::Embedded)
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
