//! Places where a test lets the process die, between every two steps that change the world.
//!
//! Compiled to nothing unless the feature `failpoints` is on, which no release has.

use std::fmt;

/// Dies here, as by `kill -9`, when the environment's `FAILPOINT` names this point.
#[cfg(feature = "failpoints")]
pub fn failpoint(point: fmt::Arguments<'_>) {
    if std::env::var_os("FAILPOINT").is_some_and(|named| *named == *point.to_string()) {
        tracing::warn!(%point, "failpoint");
        // Nothing can be done about a process that cannot be killed.
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).ok();
    }
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn failpoint(_point: fmt::Arguments<'_>) {}
