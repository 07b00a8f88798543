//! Keys of letters, and the signature that shows a receiver who wrote one.
//!
//! `Chaser-Signature: t=<unix seconds>,v1=<hex of HMAC-SHA256(key, "<t>." + body)>`. A receiver computes the
//! same over the bytes that it got, compares in constant time and refuses what is older than it likes.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The header's value.
pub(super) fn signature(key: &[u8], at: i64, body: &[u8]) -> String {
    // HMAC takes keys of every length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key will do");
    mac.update(format!("{at}.").as_bytes());
    mac.update(body);
    format!("t={at},v1={}", hex(&mac.finalize().into_bytes()))
}

/// The same for the same event of the same subject, whoever writes the letter and how often.
pub(super) fn idempotency_key(node: &str, event: &str, subject: &str) -> String {
    let digest = Sha256::digest(format!("{node}\n{event}\n{subject}"));
    hex(&digest[..16])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_that_any_tool_computes() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        let signed = signature(b"secret", 1_700_000_000, b"{}");
        let (time, mac) = signed.split_once(",v1=").unwrap();
        assert_eq!(time, "t=1700000000");
        assert_eq!(mac, EXPECTED);
        assert_ne!(signature(b"secret", 1_700_000_001, b"{}"), signed);
        assert_ne!(signature(b"secreT", 1_700_000_000, b"{}"), signed);
    }

    #[test]
    fn a_key_is_of_node_event_and_subject() {
        let key = idempotency_key("n", "session.ended", "s");
        assert_eq!(key.len(), 32);
        assert_eq!(key, idempotency_key("n", "session.ended", "s"));
        for other in [
            idempotency_key("m", "session.ended", "s"),
            idempotency_key("n", "node.ready", "s"),
            idempotency_key("n", "session.ended", "t"),
        ] {
            assert_ne!(key, other);
        }
    }

    const EXPECTED: &str = "b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163";
}
