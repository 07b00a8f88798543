//! What can run under an instance. A substrate turns a profile and the limits into one container
//! to create, and does nothing else: starting, watching and destroying are the same for all.

pub mod android;
pub mod chromium;
