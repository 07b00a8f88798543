//! Devices that demand a key: Google's adbd with its demand switched on again (`tests/android/secure`), and
//! adbkit's, which is of another make.

use std::time::Duration;

use chaser::{
    adb::{Adb, AdbError, Hello, Key, Lost},
    runtime::Tasks,
};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::LIMIT;
use crate::harness::{Bridge, Device, eventually, seconds};

const ADBD: u16 = 5555;

fn with(key: &Key, patience: Duration) -> Hello<'_> {
    Hello {
        limit: LIMIT,
        key: Some(key),
        patience,
    }
}

/// The first word of a public key is the key itself.
fn alone(public: &str) -> &str {
    public.split_whitespace().next().unwrap()
}

/// One that demands a key, and knows those of these lines.
async fn demanding(known: &str) -> Device {
    let argument = format!("androidboot.test.adb_key={known}");
    let device = Device::begin(&["androidboot.test.auth=demanded", &argument]);
    let tasks = Tasks::default();
    eventually("adbd demands a key", seconds(20), async || {
        let refused = device.adb(&tasks).await.err()?;
        matches!(refused, AdbError::WantsKey).then_some(())
    })
    .await;
    device
}

async fn serves(adb: &Adb) {
    assert_eq!(adb.shell("exit 3", LIMIT).await.unwrap().code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_adbd_takes_the_key_that_it_knows_and_no_other() {
    let (key, other) = (Key::generate().unwrap(), Key::generate().unwrap());
    let device = demanding(alone(&key.public())).await;
    let tasks = Tasks::default();
    let adb = device.greet(ADBD, with(&key, LIMIT), &tasks).await.unwrap();
    serves(&adb).await;
    let begun = Instant::now();
    let patience = Duration::from_millis(700);
    let refused = device.greet(ADBD, with(&other, patience), &tasks).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, AdbError::KeyRefused { fingerprint } if fingerprint == other.fingerprint()),
        "{refused}"
    );
    assert!(begun.elapsed() >= patience, "it was shown for as long");
    serves(&adb).await;
}

/// Google's `adb` makes a key, we read it, and both say the same of it; and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_adb_is_one_of_ours_and_ours_is_one_of_adb() {
    let device = demanding("").await;
    let theirs = device.exec("adb keygen /data/theirs && cat /data/theirs");
    let theirs = Key::from_pem(&theirs).unwrap();
    let said = device.exec("adb pubkey /data/theirs");
    assert_eq!(alone(&theirs.public()), alone(&said));
    device.exec("adb pubkey /data/theirs >/data/misc/adb/adb_keys");
    let tasks = Tasks::default();
    let adb = device.greet(ADBD, with(&theirs, LIMIT), &tasks).await;
    serves(&adb.unwrap()).await;

    let ours = Key::generate().unwrap();
    let text = ours.to_pem().unwrap();
    let put = format!("cat >/data/ours <<'END'\n{}END", text.expose_secret());
    device.exec(&put);
    assert_eq!(
        alone(&device.exec("adb pubkey /data/ours")),
        alone(&ours.public())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn adbkit_verifies_our_signature_and_lets_a_known_key_in_unasked() {
    let (key, other) = (Key::generate().unwrap(), Key::generate().unwrap());
    let device = Device::start().await;
    let bridge = device.bridge(&["knows", alone(&key.public())]).await;
    let tasks = Tasks::default();
    let keyless = Hello::keyless(LIMIT);
    let refused = device.greet(Bridge::PORT, keyless, &tasks).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, AdbError::WantsKey), "{refused}");
    let adb = device.greet(Bridge::PORT, with(&key, LIMIT), &tasks).await;
    serves_plainly(&adb.unwrap()).await;
    assert!(!bridge.said().contains("asked"), "{}", bridge.said());
    let refused = device
        .greet(Bridge::PORT, with(&other, LIMIT), &tasks)
        .await;
    // Its RSA throws where a signature is another key's: it asks nobody then, and hangs up.
    let refused = refused.unwrap_err();
    assert!(matches!(refused, AdbError::Lost(Lost::HungUp)), "{refused}");
}

/// Somebody looks at the device's screen: after a while, with a no, or never.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_left_to_whoever_looks_at_the_device_and_not_for_longer_than_was_said() {
    let key = Key::generate().unwrap();
    let (device, tasks) = (Device::start().await, Tasks::default());
    {
        let _late = device.bridge(&["accepts", "1500"]).await;
        let adb = device.greet(Bridge::PORT, with(&key, LIMIT), &tasks).await;
        serves_plainly(&adb.unwrap()).await;
    }
    {
        let no = device.bridge(&["refuses"]).await;
        let begun = Instant::now();
        let refused = device.greet(Bridge::PORT, with(&key, LIMIT), &tasks).await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, AdbError::KeyRefused { .. }), "{refused}");
        assert!(begun.elapsed() < LIMIT, "a no is heard at once");
        let public = key.public();
        let whose = public.split_once(' ').unwrap().1;
        let (line, asked) = (format!("asked 2048 65537 {whose}"), no.said());
        assert!(asked.lines().any(|one| one == line), "{line}: {asked}");
    }
    let _nobody = device.bridge(&["ignores"]).await;
    let patience = Duration::from_millis(500);
    let refused = device
        .greet(Bridge::PORT, with(&key, patience), &tasks)
        .await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, AdbError::KeyRefused { .. }), "{refused}");
    assert!(tasks.is_empty(), "nobody was let in");
}

/// adbkit knows no `shell,v2`.
async fn serves_plainly(adb: &Adb) {
    use tokio::io::AsyncReadExt;
    let mut stream = adb.open("exec:echo in", LIMIT).await.unwrap();
    let mut text = String::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_string(&mut text));
    read.await.unwrap().unwrap();
    assert_eq!(text.trim(), "in");
}
