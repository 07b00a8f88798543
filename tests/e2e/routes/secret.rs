//! A login that was told goes to the relay's memory, and is found nowhere else.

use super::*;

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
