use rsa::{pkcs1::EncodeRsaPrivateKey, rand_core::UnwrapErr};
use secrecy::ExposeSecret;

use super::*;

/// Made once: it takes seconds.
fn key() -> Key {
    static ONE: std::sync::OnceLock<Key> = std::sync::OnceLock::new();
    ONE.get_or_init(|| Key::generate().unwrap()).clone()
}

#[test]
fn a_key_is_the_same_after_every_form_of_it() {
    let key = key();
    let pem = key.to_pem().unwrap();
    assert!(
        pem.expose_secret()
            .starts_with("-----BEGIN PRIVATE KEY-----\n")
    );
    let old = key.private.to_pkcs1_pem(LineEnding::LF).unwrap();
    let again = [
        Key::from_pem(pem.expose_secret()).unwrap(),
        Key::from_pem(&old).unwrap(),
        Key::from_der(key.to_der().unwrap().expose_secret()).unwrap(),
    ];
    for other in again {
        assert_eq!(other.fingerprint(), key.fingerprint());
        assert_eq!(other.public(), key.public());
    }
}

/// Of Android's form: what its verification computes with must be what it says.
#[test]
fn the_public_form_is_what_android_computes_with() {
    let key = key();
    let public = key.public();
    let (text, whose) = public.split_once(' ').unwrap();
    assert!(whose.starts_with("chaser@"), "{whose}");
    let bytes = BASE64.decode(text).unwrap();
    assert_eq!(bytes.len(), 524);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(word(0), 64);
    assert_eq!(word(520), 65_537);
    assert_eq!(word(4).wrapping_mul(word(8)), u32::MAX, "-1/n");
    let number = |at: usize| BoxedUint::from_le_slice_vartime(&bytes[at..at + 256]);
    let modulus = number(8);
    assert_eq!(&modulus, key.private.n().as_ref());
    let one = BoxedUint::one_with_precision(4160);
    let square = one.shl_vartime(4096).unwrap();
    let square = square.rem_vartime(key.private.n());
    assert_eq!(number(264), square);
}

#[test]
fn a_signature_is_of_the_token_as_if_it_were_a_sha1() {
    let key = key();
    let token = [7; TOKEN];
    let signature = key.sign(&token).unwrap();
    let padding = || Pkcs1v15Sign {
        hash_len: Some(TOKEN),
        prefix: SHA1.into(),
    };
    let public = key.private.to_public_key();
    public.verify(padding(), &token, &signature).unwrap();
    assert!(public.verify(padding(), &[8; TOKEN], &signature).is_err());
}

#[test]
fn what_is_no_key_for_android_is_refused_and_none_of_it_is_shown() {
    assert_eq!(Key::from_pem("secret").unwrap_err(), KeyError::Unreadable);
    assert_eq!(Key::from_der(b"secret").unwrap_err(), KeyError::Unreadable);
    let short = PrivateKey::new(&mut UnwrapErr(getrandom::SysRng), 1024);
    let short = short.unwrap().to_pkcs8_pem(LineEnding::LF).unwrap();
    assert_eq!(Key::from_pem(&short).unwrap_err(), KeyError::Size(1024));
    let key = key();
    assert_eq!(format!("{key:?}"), format!("Key({:?})", key.fingerprint()));
}
