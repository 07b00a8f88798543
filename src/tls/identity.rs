//! Certificates and keys from files, checked before anything is built on them.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use secrecy::{ExposeSecret, SecretString};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use x509_parser::parse_x509_certificate;

use super::provider;
use crate::model::{Class, Classify};

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file without what it should hold.
    #[error("{from} holds no {what} (PEM)")]
    Empty {
        /// Which file.
        from: String,
        /// What it should hold.
        what: &'static str,
    },
    /// A certificate that is none.
    #[error("{from} holds a certificate that cannot be read: {why}")]
    Malformed {
        /// Which file.
        from: String,
        /// Why.
        why: String,
    },
    /// Too late.
    #[error("the certificate in {from} expired at {at}; renew it")]
    Expired {
        /// Which file.
        from: String,
        /// When.
        at: String,
    },
    /// Key and certificate are not of each other.
    #[error("the key does not belong to the certificate in {from}: {why}")]
    Mismatch {
        /// Which file the certificate is from.
        from: String,
        /// Why.
        why: String,
    },
    /// Names without an authority, or what rustls refuses.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl Classify for TlsError {
    fn class(&self) -> Class {
        Class::Invalid
    }
}

/// A certificate with its chain and key: who we are.
#[derive(Clone)]
pub struct Identity {
    chain: String,
    key: SecretString,
    pub(super) certified: Arc<CertifiedKey>,
    expires_at: OffsetDateTime,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads certificate and key from their files.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let (chain, secret) = (read(cert)?, SecretString::from(read(key)?));
        Self::parse(chain, secret, (&shown(cert), &shown(key)))
    }

    /// The same of text that came another way.
    ///
    /// # Errors
    /// [`TlsError`]; `from` is where it says that certificate and key are from.
    pub fn parse(
        chain: String,
        key: SecretString,
        (from, key_from): (&str, &str),
    ) -> Result<Self, TlsError> {
        let certificates = certificates(&chain, from)?;
        let expires_at = expiry(&certificates[0], from)?;
        if expires_at <= OffsetDateTime::now_utc() {
            return Err(TlsError::Expired {
                from: from.to_owned(),
                at: expires_at.format(&Rfc3339).unwrap_or_default(),
            });
        }
        let secret = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes());
        let secret = secret.map_err(|_none| TlsError::Empty {
            from: key_from.to_owned(),
            what: "private key",
        })?;
        let mismatch = |error: rustls::Error| TlsError::Mismatch {
            from: from.to_owned(),
            why: error.to_string(),
        };
        let certified =
            CertifiedKey::from_der(certificates, secret, &provider()).map_err(mismatch)?;
        Ok(Self {
            chain,
            key,
            certified: Arc::new(certified),
            expires_at,
        })
    }

    /// Until when its certificate is good.
    #[must_use]
    pub const fn expires_at(&self) -> OffsetDateTime {
        self.expires_at
    }

    /// The chain, PEM.
    #[must_use]
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// The key, PEM.
    #[must_use]
    pub const fn key(&self) -> &SecretString {
        &self.key
    }
}

/// The authorities of a file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&read(path)?, &shown(path))? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::Malformed {
                from: shown(path),
                why: error.to_string(),
            })?;
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<String, TlsError> {
    fs::read_to_string(path).map_err(|source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// One or more certificates.
fn certificates(pem: &str, from: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let read = read.map_err(|error| TlsError::Malformed {
        from: from.to_owned(),
        why: error.to_string(),
    })?;
    if read.is_empty() {
        return Err(TlsError::Empty {
            from: from.to_owned(),
            what: "certificate",
        });
    }
    Ok(read)
}

fn expiry(certificate: &CertificateDer<'_>, from: &str) -> Result<OffsetDateTime, TlsError> {
    let malformed = |why: String| TlsError::Malformed {
        from: from.to_owned(),
        why,
    };
    let (_, parsed) =
        parse_x509_certificate(certificate).map_err(|error| malformed(error.to_string()))?;
    let seconds = parsed.validity().not_after.timestamp();
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| malformed(error.to_string()))
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
