//! The tests' own certificate authority. Its key is no secret: only the image of
//! [`super::super::trusting`] believes in it.

use std::{net::IpAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
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
pub fn acceptor(ip: IpAddr) -> TlsAcceptor {
    let (authority, authority_key) = issuing();
    let issuer = Issuer::new(authority, authority_key);

    let mut leaf = CertificateParams::new(NAMES.map(str::to_owned)).unwrap();
    leaf.subject_alt_names.push(SanType::IpAddress(ip));
    let leaf_key = KeyPair::generate().unwrap();
    let certificate = leaf.signed_by(&leaf_key, &issuer).unwrap();

    let key = PrivateKeyDer::Pkcs8(leaf_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn issuing() -> (CertificateParams, KeyPair) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let name = "authority of chaser's tests";
    authority.distinguished_name.push(DnType::CommonName, name);
    (authority, KeyPair::from_pem(AUTHORITY_KEY).unwrap())
}
