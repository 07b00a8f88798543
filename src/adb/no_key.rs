//! A build without `adb-auth`: there is no key, and whoever names one is told so.

use secrecy::{SecretSlice, SecretString};

use super::{KeyError, TOKEN};

/// Nobody has one.
#[derive(Debug, Clone)]
pub enum Key {}

impl Key {
    /// Never.
    ///
    /// # Errors
    /// [`KeyError::NotBuilt`].
    pub const fn generate() -> Result<Self, KeyError> {
        Err(KeyError::NotBuilt)
    }

    /// Never.
    ///
    /// # Errors
    /// [`KeyError::NotBuilt`].
    pub const fn from_pem(_text: &str) -> Result<Self, KeyError> {
        Err(KeyError::NotBuilt)
    }

    /// Never.
    ///
    /// # Errors
    /// [`KeyError::NotBuilt`].
    pub const fn from_der(_bytes: &[u8]) -> Result<Self, KeyError> {
        Err(KeyError::NotBuilt)
    }

    /// Cannot be asked.
    ///
    /// # Errors
    /// None.
    pub const fn to_pem(&self) -> Result<SecretString, KeyError> {
        match *self {}
    }

    /// Cannot be asked.
    ///
    /// # Errors
    /// None.
    pub const fn to_der(&self) -> Result<SecretSlice<u8>, KeyError> {
        match *self {}
    }

    /// Cannot be asked.
    #[must_use]
    pub const fn fingerprint(&self) -> &str {
        match *self {}
    }

    /// Cannot be asked.
    #[must_use]
    pub const fn public(&self) -> String {
        match *self {}
    }

    /// Cannot be asked.
    ///
    /// # Errors
    /// None.
    pub const fn sign(&self, _token: &[u8; TOKEN]) -> Result<Vec<u8>, KeyError> {
        match *self {}
    }
}
