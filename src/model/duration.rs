//! Durations in configuration: `"30s"`, `"5m"`, as people write them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// For `#[serde(with = "crate::model::duration")]`.
///
/// # Errors
/// Text that is not a duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        D::Error::custom(format!(
            "`{text}` is not a duration such as \"30s\": {error}"
        ))
    })
}
