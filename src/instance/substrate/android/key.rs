//! The key of this host, for devices that demand one: a file as `adb` keeps its own (`~/.android/adbkey`),
//! PKCS#8, with the line for a device's `adb_keys` beside it under the same name and `.pub`. As with `adb`,
//! one that is not there is made.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};
use tracing::info;

use super::{Failed, Settled};
use crate::adb::Key;

/// What is read of a file, bytes: a key takes 1.7 KB.
const LONGEST: u64 = 16 << 10;

/// The key for such devices; `None` where none is configured. Read anew for each device, so another one is
/// taken without a restart.
///
/// # Errors
/// [`Failed::NoKey`]: it names the file and has nothing of its content.
pub async fn key(of: &Settled) -> Result<Option<Key>, Failed> {
    let path = of.device.adb_key.clone();
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let had = tokio::task::spawn_blocking(move || read_or_make(&path)).await;
    let had = had.unwrap_or_else(|panic| Err(panic.to_string()));
    had.map(Some).map_err(|why| Failed::NoKey { why })
}

fn read_or_make(path: &Path) -> Result<Key, String> {
    let told = |what: &str| format!("the key in {} {what}", path.display());
    let text = match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = make(path);
            made.map_err(|why| told(&format!("cannot be made: {why}")))?;
            read(path)
        }
        had => had,
    };
    let text = text.map_err(|error| told(&format!("cannot be read: {error}")))?;
    Key::from_pem(text.expose_secret()).map_err(|why| told(&format!("cannot be used: {why}")))
}

fn read(path: &Path) -> io::Result<SecretString> {
    let mut text = String::new();
    fs::File::open(path)?
        .take(LONGEST)
        .read_to_string(&mut text)?;
    Ok(text.into())
}

/// Makes a key, whole or not at all; of several that do so at once, one's is there afterwards.
fn make(path: &Path) -> Result<(), String> {
    let key = Key::generate().map_err(|why| why.to_string())?;
    let text = key.to_pem().map_err(|why| why.to_string())?;
    // Nobody else has this name: the fingerprint is new.
    let draft = beside(path, &format!(".{}", key.fingerprint()));
    let written = write(&draft, 0o600, text.expose_secret());
    let placed = written.and_then(|()| fs::hard_link(&draft, path));
    let cleared = fs::remove_file(&draft);
    match placed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        outcome => outcome.and(cleared).map_err(|error| error.to_string())?,
    }
    let public = beside(path, ".pub");
    let written = write(&public, 0o644, &format!("{}\n", key.public()));
    written.map_err(|error| format!("{}: {error}", public.display()))?;
    info!(file = %path.display(), fingerprint = key.fingerprint(), "a key for devices was made");
    Ok(())
}

fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[cfg(all(test, feature = "adb-auth"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_is_not_there_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("adbkey");
        let made: Vec<_> = std::thread::scope(|all| {
            let two = [0, 1].map(|_| all.spawn(|| read_or_make(&path).unwrap()));
            two.map(|one| one.join().unwrap().public()).into()
        });
        assert_eq!(made[0], made[1]);
        let public = dir.path().join("adbkey.pub");
        assert_eq!(fs::read_to_string(public).unwrap().trim_end(), made[0]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no draft");
    }

    #[test]
    fn a_refusal_names_the_file_and_shows_nothing_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("adbkey");
        fs::write(&path, "very secret").unwrap();
        let why = read_or_make(&path).unwrap_err();
        assert!(
            why.contains("adbkey cannot be used: it is no RSA key"),
            "{why}"
        );
        assert!(!why.contains("very"), "{why}");
        let why = read_or_make(&dir.path().join("not/there")).unwrap_err();
        assert!(why.contains("not/there cannot be made: "), "{why}");
    }
}
