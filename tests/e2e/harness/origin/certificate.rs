//! The tests' own certificate authority. Its key is no secret: only the image of
//! [`super::super::trusting`] believes in it.

use std::{net::IpAddr, sync::Arc};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

const AUTHORITY_KEY: &str = include_str!("authority.pem");
const NAMES: [&str; 3] = ["origin.test", "phone.test", "other.test"];

/// The authority's certificate (DER).
pub fn authority() -> Vec<u8> {
    let (params, key) = issuing();
    params.self_signed(&key).unwrap().der().to_vec()
}

/// Accepts TLS under the tests' names and as `ip`, with a leaf of the authority made just now.
/// Speaks these protocols of ALPN, if any.
pub fn acceptor(ip: IpAddr, protocols: &[&[u8]]) -> TlsAcceptor {
    let (certificate, leaf_key) = leaf(ip);
    let key = PrivateKeyDer::Pkcs8(leaf_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A certificate for `ip` and its key, as a program reads them.
pub fn leaf_pem(ip: IpAddr) -> String {
    let (certificate, key) = leaf(ip);
    format!("{}{}", certificate.pem(), key.serialize_pem())
}

/// The authority's certificate, as a program reads it.
pub fn authority_pem() -> String {
    let (params, key) = issuing();
    params.self_signed(&key).unwrap().pem()
}

fn leaf(ip: IpAddr) -> (Certificate, KeyPair) {
    let (authority, authority_key) = issuing();
    let issuer = Issuer::new(authority, authority_key);
    let mut leaf = CertificateParams::new(NAMES.map(str::to_owned)).unwrap();
    leaf.subject_alt_names.push(SanType::IpAddress(ip));
    let key = KeyPair::generate().unwrap();
    (leaf.signed_by(&key, &issuer).unwrap(), key)
}

fn issuing() -> (CertificateParams, KeyPair) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let name = "authority of chaser's tests";
    authority.distinguished_name.push(DnType::CommonName, name);
    (authority, KeyPair::from_pem(AUTHORITY_KEY).unwrap())
}
