//! One text that stands for many: CIDRs and ranges of addresses, ranges of ports.

use std::{net::IpAddr, ops::RangeInclusive};

use ipnet::{IpAddrRange, IpNet, Ipv4AddrRange, Ipv6AddrRange};

/// Addresses that one text may stand for.
const MOST: u128 = 4096;

/// `10.0.0.1`, `10.0.0.0/28` (without its network and broadcast addresses), `10.0.0.5-10.0.0.9`.
pub(super) fn addresses(text: &str) -> Result<Vec<IpAddr>, String> {
    let wrong = || {
        format!("must be an address, a CIDR or a range such as 10.0.0.5-10.0.0.9; not \"{text}\"")
    };
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let range = if let Ok(net) = text.parse::<IpNet>() {
        let bits = net.max_prefix_len() - net.prefix_len();
        if bits > 12 {
            return Err(format!("\"{text}\" holds more than {MOST} addresses"));
        }
        net.hosts()
    } else {
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let ends = (first.trim().parse(), last.trim().parse());
        let (Ok(first), Ok(last)) = ends else {
            return Err(wrong());
        };
        range(first, last).ok_or_else(wrong)?
    };
    Ok(range.collect())
}

fn range(first: IpAddr, last: IpAddr) -> Option<IpAddrRange> {
    let count = match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(b.to_bits().checked_sub(a.to_bits())?),
        (IpAddr::V6(a), IpAddr::V6(b)) => b.to_bits().checked_sub(a.to_bits())?,
        _ => return None,
    };
    match (first, last) {
        _ if count >= MOST => None,
        (IpAddr::V4(a), IpAddr::V4(b)) => Some(IpAddrRange::V4(Ipv4AddrRange::new(a, b))),
        (IpAddr::V6(a), IpAddr::V6(b)) => Some(IpAddrRange::V6(Ipv6AddrRange::new(a, b))),
        _ => None,
    }
}

/// `gate.example:1080` or `gate.example:10000-10009`: the host and its ports.
pub(super) fn server(text: &str) -> Result<(String, RangeInclusive<u16>), String> {
    let wrong = || format!("must be host:port or host:first-last; not \"{text}\"");
    let (host, ports) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
        Some(Some(v6)) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
        Some(_) => return Err(wrong()),
        None => host,
    };
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if host.is_empty() || host.len() > 253 || !host.chars().all(fine) {
        return Err(wrong());
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    match (first.parse(), last.parse()) {
        (Ok(first @ 1..), Ok(last)) if first <= last => Ok((host.to_owned(), first..=last)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> Result<usize, String> {
        addresses(text).map(|all| all.len())
    }

    #[test]
    fn one_text_stands_for_many_addresses() {
        assert_eq!(count("10.0.0.1"), Ok(1));
        assert_eq!(count("10.0.0.0/28"), Ok(14));
        assert_eq!(count("10.0.0.5/32"), Ok(1));
        assert_eq!(count("10.0.0.5-10.0.0.9"), Ok(5));
        assert_eq!(count("fd00::1-fd00::10"), Ok(16));
        assert_eq!(
            addresses("10.0.0.5-10.0.0.6").unwrap()[1],
            IpAddr::from([10, 0, 0, 6])
        );
        for wrong in [
            "",
            "10.0.0.9-10.0.0.5",
            "10.0.0.1-fd00::1",
            "10.0.0.0/8",
            "::/64",
            "a-b",
        ] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_server_may_have_several_ports() {
        let read = |text| server(text).ok();
        assert_eq!(
            read("gate.example:1080"),
            Some(("gate.example".into(), 1080..=1080))
        );
        assert_eq!(read("10.0.0.1:1-3"), Some(("10.0.0.1".into(), 1..=3)));
        assert_eq!(read("[fd00::1]:80"), Some(("fd00::1".into(), 80..=80)));
        for wrong in [
            "gate",
            "gate:",
            "gate:0",
            ":80",
            "a b:80",
            "[fd00::1:80",
            "a:9-3",
            "u@a:80",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
