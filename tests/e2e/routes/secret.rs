//! A login that was told goes to the relay's memory, and is found nowhere else.

use super::*;
use crate::units;

/// Looks for a word wherever the node writes something.
pub(super) async fn unwritten(chaser: &Chaser, word: &str) {
    for (place, text) in [
        ("the logs", chaser.logs()),
        ("the metrics", chaser.metrics().await),
    ] {
        assert!(!text.contains(word), "{place} show {word}: {text}");
    }
    for root in [&chaser.state_dir.join("S"), &chaser.runtime_dir] {
        for path in files(root) {
            let bytes = fs::read(&path).unwrap_or_default();
            let found = bytes.windows(word.len()).any(|at| at == word.as_bytes());
            assert!(!found, "{} holds {word}", path.display());
        }
    }
}

/// … and wherever it shows something.
pub(super) async fn nowhere(chaser: &Chaser, session: &str, word: &str) {
    unwritten(chaser, word).await;
    let mut places = vec![
        ("`node inspect`", chaser.inspect(session).await.to_string()),
        ("GetNode", format!("{:?}", chaser.node.status().await)),
        (
            "GetSession",
            format!("{:?}", chaser.node.session(session).await.unwrap()),
        ),
    ];
    for pid in [chaser.pid(), chaser.relay_pid()] {
        let shown = |file: &str| {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        places.push(("argv", shown("cmdline")));
        places.push(("the environment", shown("environ")));
    }
    let container = chaser.container(session).await;
    let inspected = crate::harness::docker::inspect(&container, "{{json .}}");
    places.push(("the container", inspected));
    for (place, text) in places {
        assert!(!text.contains(word), "{place} shows {word}: {text}");
    }
}

fn files(root: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            Ok(_) | Err(_) => {}
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_systemds_credentials_is_taken_by_its_upstream_and_lies_nowhere_else() {
    let (lab, origin) = lab();
    let gate = Upstream::start(&lab, Software::MicrosocksWithLogin, 210);
    let machine = units::booted(&lab, "routes = \"/etc/chaser/routes.toml\"\n").await;
    let table = format!(
        "[[route]]\nname = \"gate\"\nkind = \"socks5\"\nserver = \"{}\"\n\
         username_credential = \"gate-user\"\npassword_credential = \"gate-password\"\n",
        gate.server
    );
    machine.write("/etc/chaser/routes.toml", &table);
    // As PID 1 does wherever it is not in a container: credentials are a mount of their own.
    machine.must("mount --make-rshared /");
    machine.must("mkdir -m 0700 /etc/chaser/secrets");
    machine.write("/etc/chaser/secrets/user", LOGIN.0);
    machine.write("/etc/chaser/secrets/password", LOGIN.1);
    let started = || machine.sh("systemctl start chaser-node");
    // Without it the node says what is missing.
    started().unwrap_err();
    let journal = machine.must("journalctl --boot --no-pager --unit chaser-node");
    let missing = "`username_credential` is no use: there is no credential `gate-user`";
    assert!(journal.contains(missing), "{journal}");
    machine.drop_in(
        "chaser-node.service",
        "[Service]\nLoadCredential=gate-user:/etc/chaser/secrets/user\n\
         LoadCredential=gate-password:/etc/chaser/secrets/password\n",
    );
    machine.must("systemctl reset-failed");
    units::started(&machine).await;
    let order = json!({ "ttl_seconds": 600, "proxy": { "route": "gate" } });
    let answer = machine.api.post("/v1/sessions?wait=ready", &order).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let session = machine.api.adopt(&answer.body);
    let mut client = Library::Patchright.connect(&session.cdp_url).await;
    client.goto(&origin.http("/by-its-login")).await;
    assert_eq!(origin.peers(), BTreeSet::from([gate.ip()]));
    let journal = machine.must("journalctl --boot --no-pager");
    let kept = machine.must(&format!(
        "grep --recursive --files-with-matches {} /var/lib/chaser /run/chaser /etc/chaser || true",
        LOGIN.1
    ));
    assert_eq!(kept.trim(), "/etc/chaser/secrets/password");
    assert!(!journal.contains(LOGIN.1), "{journal}");
    assert_eq!(session.delete().await.status, 204);
}
