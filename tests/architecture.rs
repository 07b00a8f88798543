//! The shape of the source tree, checked like any other behaviour.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failing helper is a failing test"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Layers from the bottom up. A module may use modules of lower layers only.
const LAYERS: &[&[&str]] = &[
    &["model", "wire"],
    &["profile", "runtime", "tls"],
    &["adb", "cdp", "traces"],
    &["docker", "journal", "netns", "relay"],
    &["host", "routes"],
    &["instance"],
    &["session"],
    &["node"],
    &["control"],
    &["api"],
    &["daemon"],
    &["cli"],
];

/// Crates that only these modules may name.
const OWNED: &[(&str, &[&str])] = &[
    ("bollard", &["docker"]),
    ("rusqlite", &["journal", "control"]),
    ("rtnetlink", &["netns"]),
    ("axum", &["api"]),
    ("hickory_resolver", &["relay"]),
    ("tokio_rustls", &["node", "relay", "tls"]),
    ("rcgen", &["tls"]),
];

/// What would give up a wall of the sandbox; each must not even be written down in code.
const FORBIDDEN: &[&str] = &[
    "--no-sandbox",
    "--disable-setuid-sandbox",
    "--disable-web-security",
    "seccomp=unconfined",
    "privileged: true",
    "privileged: Some(true)",
    "--privileged",
];

const MAX_LINES: usize = 350;

/// Every text file below a directory; none where there is no such directory.
fn texts(dir: &Path) -> Vec<(PathBuf, String)> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                texts(&path)
            } else {
                let text = fs::read_to_string(&path).ok();
                text.map(|text| (path, text)).into_iter().collect()
            }
        })
        .collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut sources = texts(Path::new("src"));
    sources.retain(|(path, _)| path.extension().is_some_and(|e| e == "rs"));
    assert!(!sources.is_empty());
    sources
}

/// The top-level module that a file belongs to, or `None` for lib.rs and main.rs.
fn module(path: &Path) -> Option<String> {
    let first = path.strip_prefix("src").unwrap().iter().next()?.to_str()?;
    (!first.ends_with(".rs")).then(|| first.to_owned())
}

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|l| l.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` has no layer: add it to LAYERS"))
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|l| !l.trim_start().starts_with("//"))
}

/// Modules named by `crate::x` or by the first level of `crate::{x, y::z}`.
fn uses(text: &str) -> BTreeSet<String> {
    let code: String = code_lines(text).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0usize;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.insert(ident(&item));
                        item.clear();
                        continue;
                    }
                    _ => {}
                }
                item.push(c);
            }
            found.insert(ident(&item));
        } else {
            found.insert(ident(rest));
        }
    }
    found.remove("");
    found
}

fn ident(s: &str) -> String {
    s.trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn modules_use_only_lower_layers() {
    for (path, text) in sources() {
        let Some(from) = module(&path) else { continue };
        for to in uses(&text).into_iter().filter(|to| *to != from) {
            assert!(
                layer(&to) < layer(&from),
                "{}: {from} must not use {to}",
                path.display()
            );
        }
    }
}

#[test]
fn outside_crates_have_one_owner() {
    for (path, text) in sources() {
        let from = module(&path).unwrap_or_default();
        for (krate, owners) in OWNED {
            let named = code_lines(&text).any(|l| l.contains(&format!("{krate}::")));
            assert!(
                !named || owners.contains(&from.as_str()),
                "{}: only {owners:?} may name {krate}",
                path.display()
            );
        }
    }
}

#[test]
fn files_fit_on_a_few_screens() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{}: {lines} lines", path.display());
    }
}

#[test]
fn nothing_weakens_the_sandbox() {
    for dir in ["src", "images", "systemd"] {
        for (path, text) in texts(Path::new(dir)) {
            // A test may name what it forbids.
            if path.to_string_lossy().ends_with("_tests.rs") {
                continue;
            }
            // Comments in Rust, shell and TOML may say what is not done.
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with(['/', '#']));
            for line in code {
                for word in FORBIDDEN {
                    assert!(!line.contains(word), "{}: {word}", path.display());
                }
            }
        }
    }
}

#[test]
fn unsafe_code_is_in_one_place_and_explained() {
    let places: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| code_lines(text).any(|line| line.contains("unsafe {")))
        .collect();
    for (path, text) in &places {
        assert_eq!(module(path).as_deref(), Some("relay"), "{}", path.display());
        assert!(text.contains("SAFETY:"), "{}", path.display());
    }
    assert!(places.len() <= 1, "only the meter maps memory");
}

/// Names of all functions of the tree that tests can have, by file.
fn functions() -> Vec<(PathBuf, String)> {
    let mut files = sources();
    files.extend(texts(Path::new("tests/e2e")));
    let named = files.into_iter().flat_map(|(path, text)| {
        let names: Vec<_> = text
            .lines()
            .filter_map(|line| {
                line.trim_start()
                    .trim_start_matches("async ")
                    .strip_prefix("fn ")
            })
            .map(ident)
            .collect();
        names.into_iter().map(move |name| (path.clone(), name))
    });
    named.collect()
}

/// What a table of the specification names: a test, or a module whose tests are meant.
fn exists(named: &str, functions: &[(PathBuf, String)]) -> bool {
    let mut path: Vec<&str> = named.split("::").collect();
    let last = path.pop().unwrap();
    let (start, whole) = match last.strip_suffix('…') {
        Some(start) => (start, false),
        None => (last, true),
    };
    let in_folder = |file: &Path| {
        let file = file.with_extension("");
        let parts: Vec<_> = file.iter().filter_map(|part| part.to_str()).collect();
        path.iter().all(|module| parts.contains(module))
    };
    let is_module = || {
        let file = format!("src/{}", named.replace("::", "/"));
        [format!("{file}.rs"), format!("{file}/mod.rs")]
            .iter()
            .any(|file| Path::new(file).exists())
    };
    let found = functions.iter().any(|(file, name)| {
        in_folder(file)
            && if whole {
                name == start
            } else {
                name.starts_with(start)
            }
    });
    found || is_module()
}

#[test]
fn every_line_of_the_specification_names_a_test_that_exists() {
    let text = fs::read_to_string("src/ARCHITECTURE.md").unwrap();
    let functions = functions();
    let (mut held, mut in_table, mut wrong) = (0, false, Vec::new());
    for line in text.lines() {
        if !line.starts_with('|') {
            in_table = false;
            continue;
        }
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let last = *cells.last().unwrap();
        if last == "held by" {
            in_table = true;
        } else if in_table && !last.starts_with("---") {
            held += 1;
            let named: Vec<_> = last.split('`').skip(1).step_by(2).collect();
            let everywhere = last.contains("every end-to-end test");
            if named.is_empty() && !everywhere {
                wrong.push(format!("no test: {line}"));
            }
            let missing = named.iter().filter(|name| !exists(name, &functions));
            wrong.extend(missing.map(|name| format!("there is no `{name}`")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(held > 60, "only {held} lines: the tables were not read");
}

#[test]
fn the_top_level_is_what_it_is_meant_to_be() {
    const MEANT: &[&str] = &[
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "Makefile",
        "README.md",
        "images",
        "proto",
        "src",
        "systemd",
        "target",
        "tests",
    ];
    let names = fs::read_dir(".")
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<_> = names
        .filter_map(|name| name.into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    let meant: BTreeSet<_> = MEANT.iter().map(|name| (*name).to_owned()).collect();
    let beside: Vec<_> = names.difference(&meant).collect();
    assert!(
        beside.is_empty(),
        "beside what is meant to be there: {beside:?}"
    );
}
