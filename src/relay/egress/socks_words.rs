//! The words of SOCKS5 (RFC 1928), read and written: pure, from the bytes at hand.
//!
//! A reading is `None` until enough has come, and then says how many bytes were its own; it comes to the same
//! whatever the pieces. Nothing is read beyond what the words take: what follows them is the tunnel's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    authority::{Authority, Host},
    refusal::Malformed,
};

/// The first byte of everything here.
pub(super) const VERSION: u8 = 5;
pub(super) const NO_LOGIN: u8 = 0;
pub(super) const SUCCEEDED: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Words that are none, or none that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// No way to log in that we do.
    Methods,
    /// A command but `CONNECT`.
    Command,
    /// An address of no known type.
    Kind,
    /// Anything else.
    Words(Malformed),
}

/// What was read, and of how many bytes.
pub(super) type Read<T> = Result<Option<(T, usize)>, Bad>;

/// A client's greeting: one that offers to go without a login.
pub(super) fn greeting(bytes: &[u8]) -> Read<()> {
    let [_version, count, rest @ ..] = bytes else {
        return Ok(None);
    };
    match rest.get(..usize::from(*count)) {
        None => Ok(None),
        Some(methods) if methods.contains(&NO_LOGIN) => Ok(Some(((), 2 + methods.len()))),
        Some(_) => Err(Bad::Methods),
    }
}

/// A client's request to connect.
pub(super) fn asked(bytes: &[u8]) -> Read<Authority> {
    let [version, command, _reserved, kind, rest @ ..] = bytes else {
        return Ok(None);
    };
    if *version != VERSION {
        return Err(bad("another version of SOCKS"));
    }
    let Some((host, port)) = address(*kind, rest)? else {
        return Ok(None);
    };
    let host = match host {
        Address::Ip(ip) => Host::Ip(ip),
        Address::Name(name) => named(name)?,
    };
    let [high, low, after @ ..] = port else {
        return Ok(None);
    };
    let port = u16::from_be_bytes([*high, *low]);
    if port == 0 {
        return Err(bad("a bad port in the target"));
    }
    if *command != CONNECT {
        return Err(Bad::Command);
    }
    Ok(Some((Authority { host, port }, bytes.len() - after.len())))
}

/// An upstream's answer to a request: its code. Some say nothing more once they have failed.
pub(super) fn answered(bytes: &[u8]) -> Read<u8> {
    let [version, code, _reserved, kind, rest @ ..] = bytes else {
        return Ok(None);
    };
    if *version != VERSION {
        return Err(bad("another version of SOCKS"));
    }
    if *code != SUCCEEDED {
        return Ok(Some((*code, 4)));
    }
    // The address that it is bound to, which nobody needs, stands before the tunnel's first byte.
    let after = address(*kind, rest)?.and_then(|(_bound, port)| port.get(2..));
    Ok(after.map(|after| (*code, bytes.len() - after.len())))
}

/// The request to connect to `to`.
pub(super) fn asking(to: &Authority) -> Vec<u8> {
    let mut words = vec![VERSION, CONNECT, 0];
    match &to.host {
        Host::Ip(IpAddr::V4(v4)) => {
            words.push(IPV4);
            words.extend(v4.octets());
        }
        Host::Ip(IpAddr::V6(v6)) => {
            words.push(IPV6);
            words.extend(v6.octets());
        }
        Host::Name(name) => {
            words.push(NAME);
            // An authority's name has at most 253 bytes.
            words.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            words.extend(name.as_bytes());
        }
    }
    words.extend(to.port.to_be_bytes());
    words
}

/// Our answer: the address that we are bound to is nobody's business.
pub(super) fn answering(code: u8) -> Vec<u8> {
    vec![VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]
}

enum Address<'a> {
    Ip(IpAddr),
    Name(&'a [u8]),
}

/// The address at the beginning of `bytes`, and what follows it.
fn address(kind: u8, bytes: &[u8]) -> Result<Option<(Address<'_>, &[u8])>, Bad> {
    match kind {
        IPV4 => Ok(bytes
            .split_first_chunk::<4>()
            .map(|(octets, rest)| (Address::Ip(Ipv4Addr::from(*octets).into()), rest))),
        IPV6 => Ok(bytes
            .split_first_chunk::<16>()
            .map(|(octets, rest)| (Address::Ip(Ipv6Addr::from(*octets).into()), rest))),
        NAME => {
            let whole = bytes.split_first();
            let whole = whole.and_then(|(length, rest)| rest.split_at_checked((*length).into()));
            Ok(whole.map(|(name, rest)| (Address::Name(name), rest)))
        }
        _ => Err(Bad::Kind),
    }
}

fn named(name: &[u8]) -> Result<Host, Bad> {
    let name = str::from_utf8(name).map_err(|_binary| bad("a bad name"))?;
    // Never with a port: it comes after.
    if name.contains(':') {
        return Err(bad("a bad name in the target"));
    }
    let to = Authority::parse(name, Some(1)).map_err(Bad::Words)?;
    Ok(to.host)
}

const fn bad(what: &'static str) -> Bad {
    Bad::Words(Malformed(what))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_success_ends_after_the_bound_address_and_a_failure_needs_none() {
        let named = [5, 0, 0, 3, 2, b'a', b'b', 0, 80, b'!'];
        assert_eq!(answered(&named), Ok(Some((0, 9))));
        assert_eq!(answered(&named[..8]), Ok(None));
        assert_eq!(answered(&[5, 5, 0, 9]), Ok(Some((5, 4))));
        assert_eq!(answered(&[5, 0, 0, 9]), Err(Bad::Kind));
        assert_eq!(
            answered(&[4, 0, 0, 1]),
            Err(bad("another version of SOCKS"))
        );
    }

    proptest! {
        #[test]
        fn what_is_asked_is_read_as_it_was_written_whatever_follows(
            name in "[a-z]{1,20}\\.[a-z]{2,8}", octets: [u8; 16], v4: bool, named: bool,
            port in 1_u16.., after: Vec<u8>,
        ) {
            let host = match (named, v4) {
                (true, _) => Host::Name(name),
                (false, true) => Host::Ip(IpAddr::from([octets[0], octets[1], octets[2], octets[3]])),
                (false, false) => Host::Ip(IpAddr::from(octets)),
            };
            let to = Authority { host, port };
            let words = asking(&to);
            for cut in 0..words.len() {
                prop_assert_eq!(asked(&words[..cut]), Ok(None));
            }
            let length = words.len();
            prop_assert_eq!(asked(&[words, after].concat()), Ok(Some((to, length))));
        }
    }
}
