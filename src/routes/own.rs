//! A client's own proxy in place of a route.

use super::{Lost, expand};
use crate::{
    model::{Class, Classify, OwnProxy},
    relay::{Login, Scheme, Upstream, Way},
};

/// What is no proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a proxy's server must be http://host:port, https://host:port or socks5://host:port")]
pub struct InvalidProxy;

impl Classify for InvalidProxy {
    fn class(&self) -> Class {
        Class::Invalid
    }
}

/// Checks a `server` as a client wrote it. What is wrong with it is not quoted: it may hold a login.
///
/// # Errors
/// [`InvalidProxy`].
pub fn check_own(server: &str) -> Result<(), InvalidProxy> {
    parse(server).map(drop)
}

fn parse(server: &str) -> Result<(Scheme, String, u16), InvalidProxy> {
    let (scheme, rest) = server.split_once("://").ok_or(InvalidProxy)?;
    let scheme = scheme.parse().map_err(|_unknown| InvalidProxy)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, mut ports) = expand::server(rest).map_err(|_wrong| InvalidProxy)?;
    match (ports.next(), ports.next()) {
        (Some(port), None) => Ok((scheme, host, port)),
        _ => Err(InvalidProxy),
    }
}

/// The way by a client's own proxy, which must pass the policy itself.
pub(super) fn way(own: &OwnProxy) -> Result<Way, Lost> {
    let (scheme, host, port) = parse(&own.server)?;
    let login = match (own.has_login, own.username.get()) {
        (true, None) => return Err(Lost::Login),
        (true, Some(username)) => Some(Login {
            username: username.clone(),
            password: own.password.get().cloned().unwrap_or_default(),
        }),
        (false, _) => None,
    };
    Ok(Way {
        upstream: Some(Upstream {
            scheme,
            host,
            port,
            login,
            ca: String::new(),
            is_foreign: true,
        }),
        ..Way::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Unwritten;

    #[test]
    fn a_proxy_is_a_scheme_a_host_and_one_port() {
        for fine in [
            "http://gate.example:80",
            "https://10.0.0.1:443/",
            "socks5://[fd00::1]:1080",
        ] {
            assert_eq!(check_own(fine), Ok(()), "{fine}");
        }
        for wrong in [
            "",
            "gate.example:80",
            "ftp://a:1",
            "http://a",
            "http://user:pass@a:80",
            "http://a:1-2",
            "http://a:80/path",
            "socks5://:80",
        ] {
            assert_eq!(check_own(wrong), Err(InvalidProxy), "{wrong}");
        }
    }

    #[test]
    fn a_login_that_was_forgotten_is_not_left_out() {
        let mut own = OwnProxy {
            server: "socks5://gate.example:1080".to_owned(),
            has_login: true,
            username: Unwritten::default(),
            password: Unwritten::default(),
        };
        assert_eq!(way(&own).unwrap_err(), Lost::Login);
        own.username = Unwritten::from("user".to_owned());
        let upstream = way(&own).unwrap().upstream.unwrap();
        assert!(upstream.is_foreign && upstream.login.is_some());
        own.has_login = false;
        assert!(way(&own).unwrap().upstream.unwrap().login.is_none());
    }
}
