//! Customers' holds on instances.

mod error;
mod hub;
pub mod machine;
mod snapshot;

use std::time::Duration;

use serde::Deserialize;

pub use error::Denied;
pub use hub::Hub;
pub use snapshot::{Event, Item, Snapshot, What};

/// `[session]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Without a CDP connection for this long a session ends, unless its order says otherwise.
    #[serde(with = "crate::model::duration")]
    pub idle_timeout: Duration,
    /// How long ended sessions stay in the node's journal.
    #[serde(with = "crate::model::duration")]
    pub retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(300),
            retention: Duration::from_secs(24 * 3600),
        }
    }
}
