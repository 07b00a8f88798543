//! What can run under an instance. A substrate turns a profile and the limits into one container
//! to create, and does nothing else: starting, watching and destroying are the same for all.

pub mod android;
pub mod chromium;

use crate::{model::Substrate, netns::Browser};

/// Docker's default rules without what Chromium does not need, and with the namespaces that its
/// sandbox does need.
const SECCOMP: &str = include_str!("../../../images/chromium/seccomp.json");

/// Where the browser of an instance on `substrate` is, as the container's network namespace sees it.
#[must_use]
pub fn browser(substrate: Substrate) -> Browser {
    android::Kind::of(substrate).map_or(Browser::Inside, |kind| kind.browser)
}
