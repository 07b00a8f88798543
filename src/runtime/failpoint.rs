//! Places where a test lets the process die, between every two steps that change the world, or be another.
//!
//! Compiled to nothing unless the feature `failpoints` is on, which no release has.

use std::{ffi::OsString, fmt};

/// Names the point.
#[cfg(feature = "failpoints")]
const NAMED: &str = "FAILPOINT";

/// Dies here, as by `kill -9`, when the environment's `FAILPOINT` names this point.
#[cfg(feature = "failpoints")]
pub fn failpoint(point: fmt::Arguments<'_>) {
    if is_named(point) {
        tracing::warn!(%point, "failpoint");
        // Nothing can be done about a process that cannot be killed.
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).ok();
    }
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn failpoint(_point: fmt::Arguments<'_>) {}

/// Whether the environment's `FAILPOINT` names this point.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn is_named(point: fmt::Arguments<'_>) -> bool {
    std::env::var_os(NAMED).is_some_and(|named| *named == *point.to_string())
}

/// None is.
#[cfg(not(feature = "failpoints"))]
#[inline]
#[must_use]
pub const fn is_named(_point: fmt::Arguments<'_>) -> bool {
    false
}

/// What a process that is started with an empty environment is told of it.
#[cfg(feature = "failpoints")]
#[must_use]
pub fn handed_on() -> Option<(&'static str, OsString)> {
    std::env::var_os(NAMED).map(|named| (NAMED, named))
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
#[must_use]
pub const fn handed_on() -> Option<(&'static str, OsString)> {
    None
}
