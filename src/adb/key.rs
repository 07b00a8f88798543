//! The key that a host shows to a device which demands one, as `adb` has it in `~/.android/adbkey`.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use rsa::{
    BoxedUint, Pkcs1v15Sign, PrivateKey,
    pkcs1::DecodeRsaPrivateKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding},
    traits::PublicKeyParts,
};
use secrecy::{SecretSlice, SecretString};
use sha2::{Digest, Sha256};

use super::{KeyError, TOKEN};

/// Android knows keys of this size only.
const BITS: usize = 2048;
const WORDS: usize = BITS / 32;
/// What stands before a SHA-1 in a signature (RFC 8017, 9.2): adbd takes its token for one.
const SHA1: [u8; 15] = [
    0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14,
];

/// An RSA key of 2048 bits. Clones share it; it is wiped with the last of them, and no debug output or
/// error has any of it but its fingerprint.
#[derive(Clone)]
pub struct Key {
    private: Arc<PrivateKey>,
    fingerprint: String,
}

impl Key {
    /// A new one, from the system's randomness. Takes seconds on a slow core.
    ///
    /// # Errors
    /// [`KeyError::Unusable`] where the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let private = PrivateKey::new(&mut getrandom::SysRng, BITS);
        Self::checked(private.map_err(|_why| KeyError::Unusable)?)
    }

    /// From the text of a file: PKCS#8, as `adb` writes it, or PKCS#1, as it once did.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let private =
            PrivateKey::from_pkcs8_pem(text).or_else(|_| PrivateKey::from_pkcs1_pem(text));
        Self::checked(private.map_err(|_why| KeyError::Unreadable)?)
    }

    /// From PKCS#8.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_der(bytes: &[u8]) -> Result<Self, KeyError> {
        let private = PrivateKey::from_pkcs8_der(bytes);
        Self::checked(private.map_err(|_why| KeyError::Unreadable)?)
    }

    fn checked(private: PrivateKey) -> Result<Self, KeyError> {
        let bits = private.n().bit_width_vartime() as usize;
        if bits != BITS {
            return Err(KeyError::Size(bits));
        }
        let public = private.to_public_key().to_public_key_der();
        let public = public.map_err(|_why| KeyError::Unusable)?;
        Ok(Self {
            private: Arc::new(private),
            fingerprint: hex(&Sha256::digest(public.as_bytes())),
        })
    }

    /// The text of a file, PKCS#8.
    ///
    /// # Errors
    /// [`KeyError::Unusable`]; not for any key that was read or made.
    pub fn to_pem(&self) -> Result<SecretString, KeyError> {
        let text = self.private.to_pkcs8_pem(LineEnding::LF);
        let text = text.map_err(|_why| KeyError::Unusable)?;
        Ok(text.as_str().to_owned().into())
    }

    /// PKCS#8.
    ///
    /// # Errors
    /// [`KeyError::Unusable`]; not for any key that was read or made.
    pub fn to_der(&self) -> Result<SecretSlice<u8>, KeyError> {
        let bytes = self.private.to_pkcs8_der();
        let bytes = bytes.map_err(|_why| KeyError::Unusable)?;
        Ok(bytes.as_bytes().to_vec().into())
    }

    /// SHA-256 of the public key in hexadecimal digits, as `adb` logs it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What a device keeps of the key, a line of its `adb_keys`: Android's own form, and whose it is.
    #[must_use]
    pub fn public(&self) -> String {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let text = BASE64.encode(encode(self.private.n(), self.private.e()));
        format!("{text} chaser@{}", host.to_string_lossy())
    }

    /// The answer to a device's token. Takes milliseconds; blinded, so their number tells nothing.
    ///
    /// # Errors
    /// [`KeyError::Unusable`] where the system has no randomness.
    pub fn sign(&self, token: &[u8; TOKEN]) -> Result<Vec<u8>, KeyError> {
        let padding = Pkcs1v15Sign {
            hash_len: Some(TOKEN),
            prefix: SHA1.into(),
        };
        let signed = self.private.sign(padding, token);
        signed.map_err(|_why| KeyError::Unusable)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.fingerprint).finish()
    }
}

/// `RSAPublicKey` of Android's `mincrypt`, little endian: the length in words, -1/n modulo 2³², the modulus,
/// the square of 2²⁰⁴⁸ modulo the modulus, and the exponent.
fn encode(modulus: &BoxedUint, exponent: &BoxedUint) -> Vec<u8> {
    let modulus = modulus.to_le_bytes();
    let word = |bytes: &[u8]| {
        let four = bytes.iter().take(4).rev();
        four.fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
    };
    let low = word(&modulus);
    // Newton: each step doubles the bits that are right, of which an odd number has three.
    let inverse = (0..4).fold(low, |inverse, _| {
        inverse.wrapping_mul(2_u32.wrapping_sub(low.wrapping_mul(inverse)))
    });
    let mut out = Vec::with_capacity(4 * (3 + 2 * WORDS));
    out.extend_from_slice(&64_u32.to_le_bytes());
    out.extend_from_slice(&inverse.wrapping_neg().to_le_bytes());
    out.extend_from_slice(&modulus[..4 * WORDS]);
    out.extend_from_slice(&square(&modulus[..4 * WORDS]));
    out.extend_from_slice(&word(&exponent.to_le_bytes()).to_le_bytes());
    out
}

/// 2⁴⁰⁹⁶ modulo a modulus that has 2048 bits: one, doubled so often. All of it is public.
fn square(modulus: &[u8]) -> Vec<u8> {
    // One byte more than the modulus, for what doubling carries.
    let mut value = vec![0_u8; modulus.len() + 1];
    value[0] = 1;
    for _ in 0..2 * BITS {
        let mut carry = 0;
        for byte in &mut value {
            let doubled = u16::from(*byte) << 1 | carry;
            *byte = doubled.to_le_bytes()[0];
            carry = doubled >> 8;
        }
        let wide = || modulus.iter().chain([&0]);
        if value.iter().rev().ge(wide().rev()) {
            let mut borrow = false;
            for (byte, take) in value.iter_mut().zip(wide()) {
                let (less, under) = byte.overflowing_sub(*take);
                let (less, again) = less.overflowing_sub(borrow.into());
                (*byte, borrow) = (less, under || again);
            }
        }
    }
    value.truncate(modulus.len());
    value
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
