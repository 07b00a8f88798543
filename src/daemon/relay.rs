//! The relay role: the data plane as a process of its own.

use super::telemetry;
use crate::relay::server::{self, Failed, Options};

/// Runs a relay until it is told to stop or nobody needs it.
///
/// # Errors
/// [`Failed`] when it cannot start.
pub fn run(options: &Options) -> Result<(), Failed> {
    // Lines only: what a relay does for others is too much to be traced.
    server::run(options, || {
        drop(telemetry::start(&telemetry::Config::default()));
    })
}
