//! The other side: what a client of ours trusts, and what it shows.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, client::ResolvesClientCert, sign::CertifiedKey};

use super::{Identity, TlsError, identity::authorities, provider};

/// A client that trusts the authority in `ca` and nobody else, and shows `identity` where it is asked.
///
/// # Errors
/// [`TlsError`] names what is wrong with the authority.
pub fn trusting(ca: &Path, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_root_certificates(authorities(ca)?);
    Ok(Arc::new(match identity {
        Some(identity) => {
            let shown = Arc::new(Shown(Arc::clone(&identity.certified)));
            builder.with_client_cert_resolver(shown)
        }
        None => builder.with_no_client_auth(),
    }))
}

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesClientCert for Shown {
    fn resolve(
        &self,
        _hints: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
