//! What a device said of itself when it came up: nobody can be asked for it later.

use serde::{Deserialize, Serialize};

use super::Capabilities;

/// A device in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// `Android 14 - Chrome 156 (Mobile)`.
    pub name: String,
    /// What its browser can do, where the relay says so.
    pub capabilities: Option<Capabilities>,
}
