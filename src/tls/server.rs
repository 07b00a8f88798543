//! What new connections meet: a handshake with the identity of now.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use rustls::{
    AlertDescription, CertificateError, Error, ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use super::{
    Allowed, Identity, Stream, TlsError, identity::authorities, names::Verifier, provider,
};

/// From a connection's first byte to the end of its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Refusals that are logged within [`PERIOD`]; who knocks a thousand times a second fills no disk.
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(10);

/// What is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 and what it upgrades to.
    Http1,
    /// HTTP/2, for gRPC.
    Http2,
}

/// The server side of one listener. Clones share it, and its reloads.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    protocol: Protocol,
    now: RwLock<Arc<ServerConfig>>,
    told: Mutex<(Instant, u32)>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("protocol", &self.inner.protocol)
            .finish_non_exhaustive()
    }
}

/// A connection that did not come about, as a sentence for the log.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It said nothing, or too slowly.
    #[error("no handshake within {} s", HANDSHAKE.as_secs())]
    Slow,
    /// Something else than TLS.
    #[error("it does not speak TLS, which this port does: is it a plaintext client?")]
    Plaintext,
    /// A client without a certificate.
    #[error("it presented no certificate, and this port asks for one")]
    Anonymous,
    /// A client of somebody else.
    #[error("its certificate is of another authority than tls.client_ca")]
    WrongAuthority,
    /// Too late.
    #[error("its certificate has expired")]
    Expired,
    /// Another reason to refuse its certificate.
    #[error("its certificate is refused: {0}")]
    Certificate(String),
    /// The client refused us.
    #[error("it refused our certificate or our terms ({0:?}): does it know our authority?")]
    ByTheClient(AlertDescription),
    /// It went, or broke the rules.
    #[error("the handshake failed: {0}")]
    Broken(#[from] io::Error),
}

impl Server {
    /// A server that shows `identity`; anybody may come in.
    ///
    /// # Errors
    /// What rustls refuses.
    pub fn open(identity: &Identity, protocol: Protocol) -> Result<Self, TlsError> {
        Ok(Self::new(built(identity, protocol, None)?, protocol))
    }

    /// The same for clients with a certificate of the authority in `client_ca`, and a name that is
    /// `allowed`.
    ///
    /// # Errors
    /// [`TlsError`] names what is wrong with the authority.
    pub fn mutual(
        identity: &Identity,
        (client_ca, allowed): (&std::path::Path, Allowed),
        protocol: Protocol,
    ) -> Result<Self, TlsError> {
        let verifier = Verifier::new(authorities(client_ca)?, allowed)?;
        Ok(Self::new(
            built(identity, protocol, Some(verifier))?,
            protocol,
        ))
    }

    fn new(config: ServerConfig, protocol: Protocol) -> Self {
        let inner = Inner {
            protocol,
            now: RwLock::new(Arc::new(config)),
            told: Mutex::new((Instant::now(), 0)),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// From now on new connections meet what `other` is; those that stand go on as they are.
    pub fn become_like(&self, other: &Self) {
        let config = Arc::clone(&other.inner.now.read());
        *self.inner.now.write() = config;
    }

    /// Shakes hands with a client, for ten seconds at most.
    ///
    /// # Errors
    /// [`Refused`] says why, for the log.
    pub async fn accept(&self, stream: TcpStream) -> Result<Stream, Refused> {
        let config = Arc::clone(&self.inner.now.read());
        match timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => Ok(Stream::Right(Box::new(stream))),
            Ok(Err(error)) => Err(why(error)),
            Err(_elapsed) => Err(Refused::Slow),
        }
    }

    /// The same, with a refusal told to the log.
    pub async fn welcome(
        &self,
        listener: &'static str,
        peer: SocketAddr,
        stream: TcpStream,
    ) -> Option<Stream> {
        match self.accept(stream).await {
            Ok(stream) => Some(stream),
            Err(refused) => {
                if self.may_tell() {
                    warn!(listener, %peer, "a client was refused: {refused}");
                }
                None
            }
        }
    }

    fn may_tell(&self) -> bool {
        let mut told = self.inner.told.lock();
        if told.0.elapsed() >= PERIOD {
            *told = (Instant::now(), 0);
        }
        told.1 += 1;
        told.1 <= LINES
    }
}

/// What a listener shows to everybody.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn built(
    identity: &Identity,
    protocol: Protocol,
    verifier: Option<Verifier>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string()))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
        None => builder.with_no_client_auth(),
    };
    let shown = Arc::new(Shown(Arc::clone(&identity.certified)));
    let mut config = builder.with_cert_resolver(shown);
    config.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    // A ticket of before a reload would let in a name that is not allowed any more.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

fn why(error: io::Error) -> Refused {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidMessage(_)) => Refused::Plaintext,
        Some(Error::NoCertificatesPresented) => Refused::Anonymous,
        // The latter where two authorities go by the same name.
        Some(Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => Refused::WrongAuthority,
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Refused::Expired,
        Some(Error::InvalidCertificate(CertificateError::Other(other))) => {
            Refused::Certificate(other.0.to_string())
        }
        Some(Error::InvalidCertificate(why)) => Refused::Certificate(why.to_string()),
        Some(Error::AlertReceived(alert)) => Refused::ByTheClient(*alert),
        _ => Refused::Broken(error),
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
