//! The image under test with one policy more: it trusts the origin's certificates.
//!
//! A client can make Chromium overlook certificates (`Security.setIgnoreCertificateErrors`), but a
//! worker that was started by a worker then sometimes waits for its script for ever.

use std::{
    fs::{self, File},
    path::Path,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::{docker, origin};

const POLICY: &str = "/etc/chromium/policies/managed/tests.json";

/// Its name; made from the image under test where there is none yet.
pub fn image() -> String {
    let base = docker::require_image();
    let name = format!("chaser-tests/trusting:{base}");
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // One process makes it, and the others wait.
    let lock = File::create(scratch.join("trusting.lock")).unwrap();
    lock.lock().unwrap();
    if !docker::has_image(&name) {
        let policy = json!({ "CACertificates": [BASE64_STANDARD.encode(origin::authority())] });
        let file = scratch.join("trusting.json");
        fs::write(&file, policy.to_string()).unwrap();
        docker::derive(&name, &file, POLICY);
    }
    name
}
