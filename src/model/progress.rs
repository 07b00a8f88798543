//! How far something is on its way up.

use std::time::Duration;

use time::OffsetDateTime;

/// The step that a session being made is at: of a device, the rung of its ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// A stable word, such as `boot`.
    pub step: String,
    /// What is waited for, for people.
    pub doing: String,
    /// Since when its budget counts; a boot's counts from the start of the container.
    pub since: OffsetDateTime,
    /// How long it may take.
    pub limit: Duration,
}
