//! The other side: whom a client of ours trusts.

use std::path::Path;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
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

/// A client of web servers, which keeps its connections for the next request.
pub type Https = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client of web servers with and without TLS, whose certificates are of the authority in `ca`, or of
/// one of this host's.
///
/// # Errors
/// [`TlsError`] names what is wrong with the authority.
pub fn https(ca: Option<&Path>) -> Result<Https, TlsError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trusting(ca)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Ok(legacy::Client::builder(TokioExecutor::new()).build(connector))
}

/// What cannot be read is not trusted; a host without any authority trusts nobody over TLS.
fn hosts_own() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
