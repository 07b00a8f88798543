//! Configuration that is refused, by name, with what is allowed.

use std::process::Output;

use crate::harness::{Lab, seconds};

/// Starts `chaser up` with this file and these words, and expects it to refuse at once.
async fn refused(file: &str, words: &[&str]) -> String {
    let lab = Lab::new();
    let config = lab.state_dir().join("chaser.toml");
    std::fs::create_dir_all(lab.state_dir()).unwrap();
    std::fs::write(&config, file).unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_chaser"));
    command
        .arg("up")
        .arg("--config")
        .arg(&config)
        .arg("--state-dir")
        .arg(lab.state_dir().join("S"))
        .kill_on_drop(true);
    if !words.contains(&"--runtime-dir") {
        command.arg("--runtime-dir").arg(lab.runtime_dir());
    }
    for (name, which) in [
        ("--api-listen", 0),
        ("--cdp-listen", 1),
        ("--admin-listen", 3),
    ] {
        command
            .arg(name)
            .arg(format!("127.0.0.1:{}", lab.port(which)));
    }
    let run = command.args(words).output();
    let output: Output = tokio::time::timeout(seconds(10), run)
        .await
        .unwrap_or_else(|_late| panic!("{file:?} {words:?} was accepted"))
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code();
    assert!(code == Some(64) || code == Some(2), "{code:?}: {said}");
    said
}

#[tokio::test]
async fn an_unknown_key_is_refused_by_name_with_what_is_allowed() {
    let said = refused("[session]\nidle_timout = \"3s\"\n", &[]).await;
    assert!(
        said.contains("idle_timout") && said.contains("idle_timeout"),
        "{said}"
    );
    let said = refused("[sesion]\n", &[]).await;
    assert!(
        said.contains("sesion") && said.contains("session"),
        "{said}"
    );
}

#[tokio::test]
async fn a_bad_value_is_refused_by_name() {
    let said = refused("[session]\nidle_timeout = \"soon\"\n", &[]).await;
    assert!(
        said.contains("idle_timeout") && said.contains("soon"),
        "{said}"
    );
    let said = refused("", &["--egress-address", "not-an-ip"]).await;
    assert!(
        said.contains("egress-address") && said.contains("not-an-ip"),
        "{said}"
    );
    let said = refused("", &["--api-key", "without-prefix"]).await;
    assert!(said.contains("sk_"), "{said}");
}

#[tokio::test]
async fn a_pool_that_cannot_be_is_refused_by_name() {
    let said = refused("[pool]\nprofiles = [\"nokia-3310\"]\n", &["--warm", "1"]).await;
    assert!(
        said.contains("pool.profiles") && said.contains("nokia-3310") && said.contains("default"),
        "{said}"
    );
    let said = refused("[pool]\nconcurrent_starts = 0\n", &[]).await;
    assert!(said.contains("pool.concurrent_starts"), "{said}");
    let said = refused("", &["--warm", "many"]).await;
    assert!(said.contains("--warm"), "{said}");
}

#[tokio::test]
async fn a_runtime_directory_too_long_for_a_socket_is_refused() {
    let long = format!("/dev/shm/{}", "x".repeat(100));
    let said = refused("", &["--runtime-dir", &long]).await;
    assert!(said.contains("runtime"), "{said}");
    assert!(!std::path::Path::new(&long).exists());
}
