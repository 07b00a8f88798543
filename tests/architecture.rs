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
    &["profile", "runtime"],
    &["cdp"],
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
];

const MAX_LINES: usize = 350;

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                out.push((path, text));
            }
        }
    }
    let mut out = Vec::new();
    walk(Path::new("src"), &mut out);
    out
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
