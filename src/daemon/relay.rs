//! The relay role: the data plane as a process of its own.

use super::telemetry;
use crate::relay::server::{self, Failed, Options};

/// Runs a relay until it is told to stop or nobody needs it.
///
/// # Errors
/// [`Failed`] when it cannot start.
pub fn run(options: &Options) -> Result<(), Failed> {
    // Lines; of what it does only orders are traced, and where to is in the agent's greeting.
    server::run(options, || {
        drop(telemetry::start(
            &telemetry::Config::default(),
            "chaser-relay",
        ));
    })
}
