//! An authority of one's own, for development and for hosts that have no other.

use std::{net::IpAddr, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use secrecy::SecretString;
use time::OffsetDateTime;

use super::TlsError;

/// How long an authority is good for.
const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Clocks differ: what is made now was good a moment ago.
const EARLIER: Duration = Duration::from_secs(300);

/// Somebody who issues certificates.
pub struct Authority {
    certificate: String,
    key: SecretString,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// What a certificate should say.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its common name.
    pub common_name: &'a str,
    /// A SPIFFE id.
    pub spiffe: Option<&'a str>,
    /// DNS names and addresses that its holder answers on.
    pub hosts: &'a [String],
    /// From now on.
    pub valid_for: Duration,
}

/// A certificate and its key, PEM.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: SecretString,
}

impl Issued {
    /// The certificate alone, as it goes over the wire.
    ///
    /// # Panics
    /// Never: it was written by us.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("we wrote it")
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// [`TlsError::Setup`] when no key can be made.
    pub fn create(name: &str) -> Result<Self, TlsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        lasts(&mut params, YEARS);
        let key = KeyPair::generate().map_err(setup)?;
        let certificate = params.self_signed(&key).map_err(setup)?.pem();
        Ok(Self {
            certificate,
            key: SecretString::from(key.serialize_pem()),
            issuer: Issuer::new(params, key),
        })
    }

    /// One that was made before.
    ///
    /// # Errors
    /// [`TlsError::Setup`] when certificate or key cannot be read.
    pub fn of(certificate: String, key: SecretString) -> Result<Self, TlsError> {
        use secrecy::ExposeSecret as _;
        let pair = KeyPair::from_pem(key.expose_secret()).map_err(setup)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, pair).map_err(setup)?;
        Ok(Self {
            certificate,
            key,
            issuer,
        })
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its key, PEM: whoever has it can make anybody.
    #[must_use]
    pub const fn key(&self) -> &SecretString {
        &self.key
    }

    /// A certificate for a server, a client, or both.
    ///
    /// # Errors
    /// [`TlsError::Setup`] names what cannot be said in a certificate.
    pub fn issue(&self, wanted: &Wanted<'_>) -> Result<Issued, TlsError> {
        let mut params = CertificateParams::default();
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, wanted.common_name);
        for host in wanted.hosts {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_name) => SanType::DnsName(host.as_str().try_into().map_err(setup)?),
            });
        }
        if let Some(id) = wanted.spiffe {
            let id = SanType::URI(id.try_into().map_err(setup)?);
            params.subject_alt_names.push(id);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        lasts(&mut params, wanted.valid_for);
        let key = KeyPair::generate().map_err(setup)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(setup)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: SecretString::from(key.serialize_pem()),
        })
    }
}

fn lasts(params: &mut CertificateParams, valid_for: Duration) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - EARLIER;
    params.not_after = now + valid_for;
}

fn setup(error: rcgen::Error) -> TlsError {
    TlsError::Setup(error.to_string())
}
