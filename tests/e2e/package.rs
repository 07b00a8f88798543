//! The Debian package on a real Debian: in, up to the next one, and out without a trace. It holds the debug binary,
//! because a release build takes minutes; nothing else differs.

use std::{path::PathBuf, process::Command};

use crate::{
    harness::{Machine, lab, seconds},
    units::{ALL, Traffic},
};

/// A package of this version.
fn package(version: &str) -> PathBuf {
    let output = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("packages");
    let built = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/debian/build"))
        .args([
            "--binary",
            env!("CARGO_BIN_EXE_chaser"),
            "--version",
            version,
        ])
        .arg("--output")
        .arg(&output)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "no package: {said}");
    let path = String::from_utf8(built.stdout).unwrap();
    PathBuf::from(path.trim())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_installs_upgrades_under_traffic_and_is_purged_without_a_trace() {
    let (lab, _origin) = lab();
    let machine = Machine::boot(&lab, "").await;
    machine.configure();
    let install = |version: &str| {
        let inside = format!("/root/{version}.deb");
        machine.copy(package(version).to_str().unwrap(), &inside);
        // The configuration that is there is the operator's.
        machine.must(&format!("dpkg --force-confold --install {inside}"))
    };
    install("0.1.0-1");
    machine.is_active(ALL, seconds(30)).await;
    machine.must("systemctl is-enabled chaser.target chaser-relay.socket chaser-drain");
    machine.must("zcat /usr/share/man/man1/chaser-node-drain.1.gz | grep -q deadline");
    machine.must("grep -q chaser /usr/share/bash-completion/completions/chaser");
    let mode = machine.must("stat --format '%U %G %a' /etc/chaser/chaser.toml /run/chaser");
    assert_eq!(mode, "root chaser 640\nroot chaser-relay 1771\n");

    let session = machine.api.ready_session().await;
    let mut traffic = Traffic::on(&session.cdp_url).await;
    let before = ["chaser-node", "chaser-relay"].map(|unit| machine.main_pid(unit));
    install("0.1.0-2");
    machine.is_active(ALL, seconds(30)).await;
    traffic.goes_on().await;
    let after = ["chaser-node", "chaser-relay"].map(|unit| machine.main_pid(unit));
    assert_ne!(after[0], before[0], "the agent is the new one");
    assert_eq!(after[1], before[1], "the relay is as it was");
    let version = machine.must("dpkg-query --show --showformat '${Version}' chaser");
    assert_eq!(version, "0.1.0-2");
    assert_eq!(session.get().await["status"], "ready");
    traffic.end().await;

    machine.must("dpkg --purge chaser");
    assert_eq!(machine.containers(), Vec::<String>::new(), "it was drained");
    let left = machine.must(
        "ls -d /etc/chaser /var/lib/chaser* /run/chaser /usr/bin/chaser /etc/systemd/system/*/chaser* \
         2>/dev/null; grep chaser /etc/passwd /etc/group; pgrep -a chaser; \
         find /var/lib/systemd -name '*chaser*'; true",
    );
    assert_eq!(left, "");
}
