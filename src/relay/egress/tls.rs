//! TLS to an upstream: who may vouch for it, and nothing else.

use std::{io, sync::Arc};

use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// How upstreams are spoken to that `ca` vouches for; an empty one means whom the host trusts.
/// Reads files: not for the executor.
///
/// # Errors
/// When nobody is left who could vouch.
pub(super) fn client(ca: &str) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    if ca.is_empty() {
        // What cannot be read is missing, which is said below where everything is.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            let certificate = certificate.map_err(|_bad| io::Error::other("a bad certificate"))?;
            roots.add(certificate).map_err(io::Error::other)?;
        }
    }
    if roots.is_empty() {
        return Err(io::Error::other("nobody is trusted to vouch for it"));
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
