//! What the gateway shows to clients, as the agent's `Hello` says it.

use std::net::SocketAddr;

use secrecy::SecretString;
use tonic::Status;

use crate::{
    tls::{Identity, Protocol, Server},
    wire::relay::GatewayTls,
};

/// What clients at `address` are shown; `None` for plaintext, which other hosts may only reach where
/// that was asked for.
pub(super) fn shown(
    tls: Option<GatewayTls>,
    plaintext_beyond_host: bool,
    address: &str,
) -> Result<Option<Server>, Status> {
    let Some(tls) = tls else {
        let here = address.parse::<SocketAddr>();
        if plaintext_beyond_host || here.is_ok_and(|at| at.ip().is_loopback()) {
            return Ok(None);
        }
        return Err(Status::invalid_argument(format!(
            "other hosts can reach the CDP gateway on {address} in plaintext: set tls.cert and \
             tls.key, or name \"cdp\" in tls.insecure"
        )));
    };
    let from = ("the agent's Hello", "the agent's Hello");
    let identity = Identity::parse(tls.chain, SecretString::from(tls.key), from);
    identity
        .and_then(|identity| Server::open(&identity, Protocol::Http1))
        .map(Some)
        .map_err(|error| Status::invalid_argument(format!("tls: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_beyond_this_host_is_refused_unless_it_was_asked_for() {
        let plain = |asked, address| shown(None, asked, address);
        assert!(plain(false, "127.0.0.1:1").unwrap().is_none());
        assert!(plain(true, "0.0.0.0:1").unwrap().is_none());
        let refused = plain(false, "0.0.0.0:1").unwrap_err();
        assert!(refused.message().contains("tls.insecure"), "{refused}");
        let broken = GatewayTls {
            chain: "no certificate".to_owned(),
            key: String::new(),
        };
        let refused = shown(Some(broken), true, "0.0.0.0:1").unwrap_err();
        assert!(refused.message().contains("the agent's Hello"), "{refused}");
    }
}
