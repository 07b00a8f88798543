//! What a start is busy with.

use crate::model::Progress;

/// One stage of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// For whoever reports a time-out.
    pub doing: &'static str,
    /// For whoever waits: which rung of a device's ladder, since when, of which budget.
    pub progress: Option<Progress>,
}

impl From<&'static str> for Stage {
    fn from(doing: &'static str) -> Self {
        Self {
            doing,
            progress: None,
        }
    }
}
