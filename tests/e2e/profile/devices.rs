//! Every profile that ships: what its data says holds, and what it shows is on record.
//!
//! The golden files tell when a new Chromium shows something else, however right: they are read by
//! whoever takes it in. `GOLDEN=write` in the environment writes them anew.

use std::{fmt::Write as _, fs, path::PathBuf};

use chaser::{profile::Catalogue, runtime::Tasks};
use serde_json::{Value, json};

use super::{
    driver::Tool,
    matrix::{chaser_with_sites, phone},
    tour::{Sighting, Tour},
    verdict::{self, assert_all_hold, assert_no_desktop},
    want::Phone,
};
use crate::harness::{Chaser, Origin, lab};

/// What goes on record of the tour.
const ON_RECORD: [&str; 4] = [
    "first page",
    "cross-site frame",
    "dedicated worker",
    "no viewport meta",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_shipped_profile_holds_and_shows_what_is_on_record() {
    let ((lab, origin), tasks) = (lab(), Tasks::default());
    let chaser = chaser_with_sites(&lab, &origin, &tasks).await;
    let mut drift = String::new();
    for name in Catalogue::built_in().names() {
        let (phone, seen) = visit(&chaser, &origin, &name).await;
        let now = record(&phone, &seen);
        let path = golden(&name);
        if std::env::var_os("GOLDEN").is_some_and(|order| order == "write") {
            let text = serde_json::to_string_pretty(&now).unwrap();
            fs::write(&path, format!("{text}\n")).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; write it with GOLDEN=write", path.display())
        });
        let then: Value = serde_json::from_str(&text).unwrap();
        let mut differences = String::new();
        compare("", &then["shown"], &now["shown"], &mut differences);
        if !differences.is_empty() {
            let (made, is) = (&then["chromium"], &now["chromium"]);
            writeln!(
                drift,
                "{name} (on record from Chromium {made}, this is {is}):\n{differences}"
            )
            .unwrap();
        }
    }
    assert!(
        drift.is_empty(),
        "what pages see has changed; judge each line, then run this test with GOLDEN=write\n{drift}"
    );
}

async fn visit(chaser: &Chaser, origin: &Origin, name: &str) -> (Phone, Vec<Sighting>) {
    origin.forget();
    let order = json!({ "profile": name });
    let answer = chaser.api.post("/v1/sessions", &order).await;
    let session = chaser.api.adopt(&answer.body);
    session.wait_for("ready").await;
    let phone = phone(name, &session).await;
    let mut driver = Tool::RawCdp.connect(&session.cdp_url).await;
    let mut tour = Tour {
        driver: &mut driver,
        origin,
        peer: session.egress_ip().await,
        seen: Vec::new(),
    };
    tour.main_targets().await;
    let seen = tour.seen;
    assert_all_hold(name, &verdict::cells(&phone, &seen));
    assert_no_desktop(&phone, &origin.requests_of(session.egress_ip().await));
    session.delete().await;
    (phone, seen)
}

/// What was seen, with the browser's version by name: it alone may change.
fn record(phone: &Phone, seen: &[Sighting]) -> Value {
    let of_device = |name: &str| {
        name == "user-agent" || name == "accept-language" || name.starts_with("sec-ch-")
    };
    let one = |one: &Sighting| {
        let request = one.request.as_ref().map(|request| {
            let mut headers = request.headers.clone();
            headers.retain(|name, _| of_device(name));
            headers
        });
        let shown = json!({
            "request": request, "scripts": one.report.later, "high": one.report.high,
        });
        (one.target.to_owned(), shown)
    };
    let shown: serde_json::Map<_, _> = seen
        .iter()
        .filter(|one| ON_RECORD.contains(&one.target))
        .map(one)
        .collect();
    let text = Value::Object(shown).to_string();
    let major = phone.version.split('.').next().unwrap();
    let named = text
        .replace(&phone.version, "{version}")
        .replace(&format!("Chrome/{major}."), "Chrome/{major}.");
    let mut shown: Value = serde_json::from_str(&named).unwrap();
    name_brands(&mut shown, major);
    json!({ "chromium": phone.version, "shown": shown })
}

/// Brand lists: the version has its name, and the meaningless brand changes with it.
fn name_brands(value: &mut Value, major: &str) {
    *value = super::brands::normal(value);
    match value {
        Value::Object(members) => members.values_mut().for_each(|one| name_brands(one, major)),
        Value::Array(items) => items.iter_mut().for_each(|one| name_brands(one, major)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    if let Some(brand) = value.as_object_mut()
        && let Some(version) = brand.get_mut("version")
        && *version == major
    {
        *version = "{major}".into();
    }
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/e2e/profile/golden")
        .join(format!("{name}.json"))
}

/// One line for each leaf that differs.
fn compare(at: &str, then: &Value, now: &Value, lines: &mut String) {
    match (then, now) {
        (Value::Object(before), Value::Object(after)) => {
            for key in before
                .keys()
                .chain(after.keys().filter(|key| !before.contains_key(*key)))
            {
                compare(
                    &format!("{at} › {key}"),
                    &then[key.as_str()],
                    &now[key.as_str()],
                    lines,
                );
            }
        }
        _ if then != now => writeln!(lines, "  {at}: {then} → {now}").unwrap(),
        _ => {}
    }
}
