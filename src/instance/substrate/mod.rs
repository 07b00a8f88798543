//! What can run under an instance. A substrate turns a profile and the limits into one container
//! to create, and does nothing else: starting, watching and destroying are the same for all.

pub mod android;
pub mod chromium;

/// Docker's default rules without what Chromium does not need, and with the namespaces that its
/// sandbox does need.
const SECCOMP: &str = include_str!("../../../images/chromium/seccomp.json");
