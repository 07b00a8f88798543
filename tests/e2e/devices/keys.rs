//! Orders for devices whose adbd demands a key: Google's own does, in the stand-in.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use chaser::{
    adb::Key,
    wire::node::{Blame, Phase},
};
use secrecy::ExposeSecret;

use super::{Ordered, cdp_url, knobs::failure_of};
use crate::harness::{Library, docker, eventually, lab, processes, seconds};

const DEMANDED: &str = "androidboot.test.auth=demanded";

fn key_in(file: &Path) -> String {
    format!("adb_key = \"{}\"", file.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_demands_a_key_fails_with_what_is_wrong_with_ours() {
    let dir = tempfile::tempdir().unwrap();
    let none = failure_of(Ordered::stand_in(&[DEMANDED])).await;
    assert_eq!(none.code, "device_wants_key", "{none:?}");
    assert!(none.message.contains("`adb_key`"), "{none:?}");
    assert_eq!(none.blame(), Blame::Host);

    let torn = dir.path().join("torn");
    fs::write(&torn, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n").unwrap();
    let unusable = Ordered::stand_in(&[DEMANDED]).line(&key_in(&torn));
    let unusable = failure_of(unusable).await;
    assert_eq!(unusable.code, "device_no_key", "{unusable:?}");
    assert!(
        unusable.message.contains("torn cannot be used"),
        "{unusable:?}"
    );
    assert!(!unusable.message.contains("c2VjcmV0"), "{unusable:?}");

    // One that is not there is made, as by `adb`; this device does not know it.
    let fresh = dir.path().join("fresh");
    let refused = Ordered::stand_in(&[DEMANDED]).line(&key_in(&fresh));
    let refused = failure_of(refused).await;
    assert_eq!(refused.code, "device_key_refused", "{refused:?}");
    let key = Key::from_pem(&fs::read_to_string(&fresh).unwrap()).unwrap();
    assert!(refused.message.contains(key.fingerprint()), "{refused:?}");
    let mode = fs::metadata(&fresh).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Agent and relay come in with it, also a relay that has lost everything; and it is nowhere but in its file.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_knows_our_key_is_driven_and_the_key_is_nowhere_else() {
    let (lab, origin) = lab();
    let key = Key::generate().unwrap();
    let text = key.to_pem().unwrap();
    let file = lab_file(text.expose_secret());
    let public = key.public();
    let known = public.split_whitespace().next().unwrap();
    let known = format!("androidboot.test.adb_key={known}");
    let ordered = Ordered::stand_in(&[DEMANDED, &known]).line(&key_in(file.path()));
    let chaser = ordered.on(&lab).start().await;
    let session = ordered.session(&chaser).await;
    let url = cdp_url(&chaser, &session);
    let mut client = Library::Patchright.connect(&url).await;
    client.goto(&origin.http("/in")).await;

    processes::kill(chaser.relay_pid());
    let mut again = eventually("a client is served again", seconds(20), async || {
        let mut client = Library::Playwright.start();
        let connected = client.call("connect", serde_json::json!({ "url": url }));
        connected.await.ok().map(|_| client)
    })
    .await;
    again.goto(&origin.http("/in-again")).await;
    let seen = chaser.node.session(&session.id).await.unwrap();
    assert_eq!(seen.phase(), Phase::Ready);

    let pem = text.expose_secret().lines().nth(5).unwrap().as_bytes();
    let der = key.to_der().unwrap();
    let der = &der.expose_secret()[600..640];
    let holds = |bytes: &[u8]| {
        let has = |piece: &[u8]| bytes.windows(piece.len()).any(|some| some == piece);
        has(pem) || has(der)
    };
    assert!(
        holds(&fs::read(file.path()).unwrap()),
        "the search finds it"
    );
    for dir in [&chaser.state_dir, &chaser.runtime_dir] {
        for path in files_below(dir) {
            assert!(!holds(&fs::read(&path).unwrap()), "{}", path.display());
        }
    }
    let container = chaser.container(&session.id).await;
    assert!(!holds(docker::run(&["inspect", &container]).as_bytes()));
}

fn lab_file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let (dirs, rest): (Vec<_>, Vec<_>) = entries.partition(|one| one.path().is_dir());
    let here = rest
        .into_iter()
        .filter(|one| one.file_type().unwrap().is_file());
    let below = dirs.iter().flat_map(|one| files_below(&one.path()));
    here.map(|one| one.path()).chain(below).collect()
}
