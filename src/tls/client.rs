//! The other side: whom a client of ours trusts.

use std::path::Path;

use rustls::{ClientConfig, RootCertStore};

use super::{TlsError, identity::authorities, provider};

/// A client that trusts the authority in `ca` and nobody else; without one, those of this host.
///
/// # Errors
/// [`TlsError`] names what is wrong with the authority.
pub fn trusting(ca: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let roots = match ca {
        Some(ca) => authorities(ca)?,
        None => hosts_own(),
    };
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// What cannot be read is not trusted; a host without any authority trusts nobody over TLS.
fn hosts_own() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
