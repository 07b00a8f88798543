//! Who may come in: clients of one authority, and of those perhaps only some by name.

use std::{collections::BTreeSet, fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::{TlsError, provider};

/// Names that are let in; empty for everybody of the authority.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed(BTreeSet<String>);

/// A client of the right authority with no name that is listed.
#[derive(Debug, thiserror::Error)]
#[error("none of its names is in tls.client_names: {0}")]
struct NotListed(String);

impl Allowed {
    /// A list of names.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().cloned().collect())
    }

    /// Whether one of `names` is let in.
    #[must_use]
    pub fn admits(&self, names: &[String]) -> bool {
        self.0.is_empty() || names.iter().any(|name| self.0.contains(name))
    }
}

/// Every name that a certificate gives its holder: SPIFFE ids and other URIs, DNS names, common names.
fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let common = parsed.subject().iter_common_name();
    let mut names: Vec<String> = common
        .filter_map(|name| name.as_str().ok().map(str::to_owned))
        .collect();
    if let Ok(Some(alternative)) = parsed.subject_alternative_name() {
        for name in &alternative.value.general_names {
            if let GeneralName::URI(name) | GeneralName::DNSName(name) = name {
                names.push((*name).to_owned());
            }
        }
    }
    names
}

/// Asks for a certificate of an authority, and then for its names.
pub(super) struct Verifier {
    authority: Arc<dyn ClientCertVerifier>,
    allowed: Allowed,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    pub(super) fn new(roots: RootCertStore, allowed: Allowed) -> Result<Self, TlsError> {
        let built =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let authority = built.map_err(|error| TlsError::Setup(error.to_string()))?;
        Ok(Self { authority, allowed })
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .authority
            .verify_client_cert(end_entity, intermediates, now)?;
        let names = names_of(end_entity);
        if self.allowed.admits(&names) {
            return Ok(verified);
        }
        let shown = if names.is_empty() {
            "it has none".to_owned()
        } else {
            names.join(", ")
        };
        let why = OtherError(Arc::new(NotListed(shown)));
        Err(Error::InvalidCertificate(CertificateError::Other(why)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authority.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authority.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authority.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Authority, Wanted};

    #[test]
    fn a_client_is_known_by_each_name_that_its_certificate_gives_it() {
        let authority = Authority::create("test").unwrap();
        let wanted = Wanted {
            common_name: "control-plane",
            spiffe: Some("spiffe://example.org/control"),
            hosts: &["control.example.org".to_owned()],
            valid_for: std::time::Duration::from_secs(60),
        };
        let issued = authority.issue(&wanted).unwrap();
        let names = names_of(&issued.der());
        for name in [
            "control-plane",
            "spiffe://example.org/control",
            "control.example.org",
        ] {
            assert!(names.contains(&name.to_owned()), "{names:?}");
            assert!(Allowed::new(&[name.to_owned()]).admits(&names));
        }
        assert!(Allowed::default().admits(&names));
        assert!(Allowed::default().admits(&[]));
        let other = Allowed::new(&["spiffe://example.org/contro".to_owned()]);
        assert!(!other.admits(&names));
    }
}
