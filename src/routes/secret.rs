//! Secrets of routes: in files of their own, or credentials of systemd; never in the configuration.

use std::{
    fs,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

/// A secret is one line of at most so many bytes.
const LONGEST: usize = 1024;

/// Where a secret is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// In a file.
    File(&'a Path),
    /// Under this name in the directory that systemd made for the service.
    Credential(&'a str),
}

/// The secret, without the end of its line.
///
/// # Errors
/// A sentence that names the place and never the content.
pub(super) fn read(place: Place<'_>) -> Result<SecretString, String> {
    let path = match place {
        Place::File(path) => path.to_owned(),
        Place::Credential(name) => credential(name)?,
    };
    let told = |what: String| format!("the secret in {} {what}", path.display());
    let text =
        fs::read_to_string(&path).map_err(|error| told(format!("cannot be read: {error}")))?;
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.len() > LONGEST || line.contains(['\r', '\n', '\0']) {
        return Err(told(format!("must be one line of 1 to {LONGEST} bytes")));
    }
    Ok(line.to_owned().into())
}

fn credential(name: &str) -> Result<PathBuf, String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(format!("`{name}` is no name of a credential"));
    }
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        format!("there is no credential `{name}`: systemd gave this process none (LoadCredential=)")
    })?;
    Ok(PathBuf::from(directory).join(name))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_is_one_line_and_a_refusal_does_not_show_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let said = |content: &str| {
            fs::write(&path, content).unwrap();
            read(Place::File(&path)).map(|secret| secret.expose_secret().to_owned())
        };
        assert_eq!(said("hunter2\n"), Ok("hunter2".to_owned()));
        assert_eq!(said(" with blanks \r\n"), Ok(" with blanks ".to_owned()));
        for wrong in ["", "\n", "hunter2\nhunter3\n"] {
            let refusal = said(wrong).unwrap_err();
            assert!(refusal.contains("must be one line") && !refusal.contains("hunter"));
        }
        fs::remove_file(&path).unwrap();
        assert!(
            read(Place::File(&path))
                .unwrap_err()
                .contains("cannot be read")
        );
        for name in ["../passwd", "", ".hidden"] {
            let refusal = read(Place::Credential(name)).unwrap_err();
            assert!(refusal.contains(name));
        }
    }
}
