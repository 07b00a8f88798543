//! The other side: whom a client of ours trusts.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Identity, TlsError, identity::authorities, provider};

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

/// A client that trusts whoever shows the very certificate of `identity` and holds its key, whatever
/// name and authority it is of: to ask ourselves over an address that no certificate names.
///
/// # Errors
/// [`TlsError::Setup`].
pub fn pinned(identity: &Identity) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let leaf = identity.certified.end_entity_cert().ok();
    let pin = Pin {
        leaf: leaf.map(|leaf| leaf.clone().into_owned()),
        provider: Arc::clone(&provider),
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pin))
        .with_no_client_auth())
}

#[derive(Debug)]
struct Pin {
    /// Nobody is trusted without.
    leaf: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.leaf.as_ref() == Some(shown) {
            Ok(ServerCertVerified::assertion())
        } else {
            let other = CertificateError::ApplicationVerificationFailure;
            Err(Error::InvalidCertificate(other))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, shown, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, shown, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}

/// A connection to `address`, encrypted.
///
/// # Errors
/// When it cannot be reached, or shows what `config` does not trust.
pub async fn connect(
    address: SocketAddr,
    config: ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(address.ip().into(), stream).await
}

/// A client of web servers, which keeps its connections for the next request.
pub type Https = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client of web servers with and without TLS, whose certificates are of the authority in `ca`, or of
/// one of this host's.
///
/// # Errors
/// [`TlsError`] names what is wrong with the authority.
pub fn https(ca: Option<&Path>) -> Result<Https, TlsError> {
    Ok(https_of(trusting(ca)?))
}

/// The same with whom `config` trusts.
#[must_use]
pub fn https_of(config: ClientConfig) -> Https {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    legacy::Client::builder(TokioExecutor::new()).build(connector)
}

/// What cannot be read is not trusted; a host without any authority trusts nobody over TLS.
fn hosts_own() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
