//! How a session ended.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{EndReason, Traffic};

/// The one ending of a session: made once by the arbiter, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// The reason that won.
    pub reason: EndReason,
    /// When, by the wall clock: for display.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The final byte counts.
    pub traffic: Traffic,
    /// A sentence for operators, such as what was seen of a death.
    pub detail: Option<String>,
}
