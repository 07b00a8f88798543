//! Tokens of sessions: derived from the id with a key that stays on this host, so that nothing more has to be
//! stored, and every restart knows them again.

use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::model::SessionId;

/// What derives tokens. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(SecretString);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    /// The key in `path`; made there, for its owner alone, where there is none.
    ///
    /// # Errors
    /// Whatever the file system says; `InvalidData` for a file that holds no key.
    pub fn load(path: &Path) -> io::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) if text.trim().len() >= 32 => Ok(Self(text.trim().into())),
            Ok(_short) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it holds no key; remove it and a new one is made",
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(error),
        }
    }

    fn make(path: &Path) -> io::Result<Self> {
        let key = hex(&rand::random::<[u8; 32]>());
        let draft = path.with_extension("new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(key.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        Ok(Self(key.into()))
    }

    /// The token of one session: 128 bits, as hex digits.
    #[must_use]
    pub fn of(&self, session: &SessionId) -> String {
        // HMAC takes keys of every length.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret().as_bytes())
            .expect("any key will do");
        mac.update(session.as_str().as_bytes());
        hex(&mac.finalize().into_bytes()[..16])
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_session_has_the_same_token_after_a_restart_and_no_other_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let (one, other) = (SessionId::random(), SessionId::random());
        let first = Tokens::load(&path).unwrap();
        let again = Tokens::load(&path).unwrap();
        assert_eq!(first.of(&one), again.of(&one));
        assert_eq!(first.of(&one).len(), 32);
        assert_ne!(first.of(&one), first.of(&other));
        let elsewhere = Tokens::load(&dir.path().join("other")).unwrap();
        assert_ne!(first.of(&one), elsewhere.of(&one));
        assert_eq!(format!("{first:?}"), "Tokens(…)");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert!(
            Tokens::load(&path)
                .unwrap_err()
                .to_string()
                .contains("no key")
        );
    }
}
