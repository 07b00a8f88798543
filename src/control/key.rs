//! API keys: what a client presents, of which only a hash is kept.

use std::{fmt, str::FromStr};

use rand::distr::{Alphanumeric, SampleString};
use serde::Deserialize;
use sha2::{Digest, Sha256};

const PREFIX: &str = "sk_";
/// How much of a key is shown: enough to tell two apart, useless to guess the rest.
const SHOWN: usize = 8;
const MAX_LEN: usize = 128;
/// Letters and digits of a fresh key: 190 random bits, selected by one double click.
const FRESH_LEN: usize = 32;

/// A key in the clear: seen once when it is made and with each request; never stored, never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ApiKey(String);

/// SHA-256 of a key. Fresh keys carry 190 random bits, so a plain hash cannot be searched backwards, and
/// looking one up by its hash tells nothing about how much of a guess was right.
pub type KeyHash = [u8; 32];

/// Text that is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an API key must be `sk_` and 1 to 125 letters, digits, `_` or `-`")]
pub struct InvalidKey;

impl ApiKey {
    /// A fresh key.
    #[must_use]
    pub fn random() -> Self {
        let secret = Alphanumeric.sample_string(&mut rand::rng(), FRESH_LEN);
        Self(format!("{PREFIX}{secret}"))
    }

    /// What is stored and looked up.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The first characters, for lists.
    #[must_use]
    pub fn prefix(&self) -> String {
        self.0.chars().take(SHOWN).collect()
    }

    /// The whole key: for the one who asked for it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let tail = text.strip_prefix(PREFIX).ok_or(InvalidKey)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if tail.is_empty() || text.len() > MAX_LEN || !tail.chars().all(plain) {
            return Err(InvalidKey);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ApiKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        text.parse()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_key_parses_and_never_prints() {
        let key = ApiKey::random();
        assert_eq!(key.expose().parse(), Ok(key.clone()));
        assert!(!format!("{key:?}").contains(&key.expose()[3..]));
        assert!(key.prefix().len() < key.expose().len() / 2);
    }

    #[test]
    fn other_text_is_refused() {
        for bad in ["", "sk_", "pk_abc", "sk_a b", "sk_ä", &"sk_x".repeat(60)] {
            assert!(bad.parse::<ApiKey>().is_err(), "{bad}");
        }
        "sk_x".parse::<ApiKey>().unwrap();
    }
}
