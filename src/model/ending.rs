//! How a session ended.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Blame, EndReason, Traffic};

/// What whoever asks for an end knows beyond its reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// What was seen, in a sentence for operators.
    pub detail: Option<String>,
    /// Whose fault it is.
    pub blame: Option<Blame>,
}

impl Why {
    /// Something was seen, and nobody is blamed for it here.
    #[must_use]
    pub fn seen(detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            blame: None,
        }
    }
}

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
    /// Whose fault it was, where whoever asked for the end knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blame: Option<Blame>,
}
