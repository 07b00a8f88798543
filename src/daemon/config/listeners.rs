//! What listens: each on an address of its own, and in plaintext beyond this host only where that is said.

use super::{
    Config,
    check::{Problem, require},
};
use crate::tls::Listener;

pub(super) fn ports(config: &Config) -> Result<(), Problem> {
    let mut taken = vec![("api.listen", config.api.listen)];
    let others = [
        ("cdp.listen", Some(config.cdp.listen)),
        ("admin.listen", Some(config.admin.listen)),
        ("admin.node_listen", Some(config.admin.node_listen)),
        ("node.listen", config.node.listen),
    ];
    for (key, address) in others {
        let Some(address) = address else { continue };
        // Port 0 asks the kernel for a free one.
        let clash = taken
            .iter()
            .find(|(_, other)| *other == address && address.port() != 0);
        require(
            clash.is_none(),
            key,
            format!(
                "is {address}, but {} listens there; use another port",
                clash.map_or("nothing", |(other, _)| other)
            ),
        )?;
        taken.push((key, address));
    }
    Ok(())
}

pub(super) fn tls(config: &Config) -> Result<(), Problem> {
    let tls = &config.tls;
    let given = |path: &std::path::Path| !path.as_os_str().is_empty();
    require(
        given(&tls.cert) == given(&tls.key),
        "tls.key",
        "and tls.cert must be given together",
    )?;
    require(
        !given(&tls.client_ca) || tls.is_on(),
        "tls.client_ca",
        "is given, but without tls.cert and tls.key nobody could come in",
    )?;
    require(
        tls.client_names.is_empty() || given(&tls.client_ca),
        "tls.client_names",
        "is given, but without tls.client_ca names mean nothing",
    )?;
    let listeners = [
        (Listener::Api, "api.listen", Some(config.api.listen)),
        (Listener::Cdp, "cdp.listen", Some(config.cdp.listen)),
        (Listener::Admin, "admin.listen", Some(config.admin.listen)),
        (
            Listener::Admin,
            "admin.node_listen",
            Some(config.admin.node_listen),
        ),
        (Listener::Node, "node.listen", config.node.listen),
    ];
    for (listener, key, address) in listeners {
        let Some(address) = address else { continue };
        let name = listener.as_str();
        let with = match listener {
            Listener::Api | Listener::Cdp => "set tls.cert and tls.key",
            Listener::Node => "set tls.cert, tls.key and tls.client_ca",
            Listener::Admin => "use a loopback address",
        };
        require(
            tls.permits(listener, address),
            key,
            format!(
                "is {address}, which other hosts can reach in plaintext; {with}, or name \
                 \"{name}\" in tls.insecure"
            ),
        )?;
    }
    Ok(())
}
