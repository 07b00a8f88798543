//! Workspaces: who owns sessions and keys.

use std::{fmt, str::FromStr};

/// The name of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workspace(String);

/// Text that is not a workspace's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a workspace must be 1 to 63 lower-case letters, digits or `-`")]
pub struct InvalidWorkspace;

impl Workspace {
    /// Owner of the configured keys and of the operator's.
    #[must_use]
    pub fn standard() -> Self {
        Self("default".to_owned())
    }

    /// Owner of the sessions with which a start checks itself: nobody's limits, nobody's list.
    #[must_use]
    pub fn of_the_self_check() -> Self {
        Self("self-check".to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Workspace {
    type Err = InvalidWorkspace;

    fn from_str(text: &str) -> Result<Self, InvalidWorkspace> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 63 || !text.chars().all(plain) {
            return Err(InvalidWorkspace);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
