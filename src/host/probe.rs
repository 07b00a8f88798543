//! One thing examined, and what was found.

use serde::Serialize;

/// How a probe went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Sessions work; something is less good than it could be.
    Warning,
    /// Sessions cannot work, or not safely.
    Failed,
}

/// One thing examined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What was examined.
    pub name: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What is there.
    pub found: String,
    /// What to do about it, unless all is well.
    pub mend: Option<String>,
}

impl Probe {
    /// All is well.
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            outcome: Outcome::Ok,
            found: found.into(),
            mend: None,
        }
    }

    /// It works, but.
    pub(super) fn warning(
        name: &'static str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            name,
            outcome: Outcome::Warning,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }

    /// It does not work.
    pub(super) fn failed(
        name: &'static str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            name,
            outcome: Outcome::Failed,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }
}
