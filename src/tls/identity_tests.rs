use std::time::Duration;

use super::*;
use crate::tls::{Authority, Wanted};

fn issued(valid_for: u64) -> (String, SecretString) {
    let authority = Authority::create("test").unwrap();
    let hosts = ["localhost".to_owned()];
    let wanted = Wanted {
        common_name: "server",
        spiffe: None,
        hosts: &hosts,
        valid_for: Duration::from_secs(valid_for),
    };
    let issued = authority.issue(&wanted).unwrap();
    (issued.certificate, issued.key)
}

#[test]
fn a_certificate_with_its_key_is_taken_and_the_key_is_never_shown() {
    let (cert, key) = issued(60);
    let secret = key.expose_secret().to_owned();
    let identity = Identity::parse(cert, key, ("cert", "key")).unwrap();
    let left = identity.expires_at() - OffsetDateTime::now_utc();
    assert!(left.whole_seconds() > 50 && left.whole_seconds() <= 60);
    let shown = format!("{identity:?}");
    assert!(secret.lines().all(|line| !shown.contains(line)), "{shown}");
}

#[test]
fn what_is_wrong_with_the_files_is_said_by_name() {
    let (cert, key) = issued(60);
    let (_, other) = issued(60);
    let said = |cert: &str, key: &SecretString| {
        let parsed = Identity::parse(cert.to_owned(), key.clone(), ("c.pem", "k.pem"));
        parsed.unwrap_err().to_string()
    };
    let mismatch = said(&cert, &other);
    assert!(
        mismatch.contains("does not belong to the certificate in c.pem"),
        "{mismatch}"
    );
    let (late, late_key) = issued(0);
    assert!(said(&late, &late_key).contains("c.pem expired at"));
    assert_eq!(said("", &key), "c.pem holds no certificate (PEM)");
    let none = SecretString::from(String::new());
    assert_eq!(said(&cert, &none), "k.pem holds no private key (PEM)");
    let missing = Identity::load("/nowhere/c.pem".as_ref(), "/nowhere/k.pem".as_ref());
    let missing = missing.unwrap_err().to_string();
    assert!(
        missing.starts_with("/nowhere/c.pem cannot be read"),
        "{missing}"
    );
}
