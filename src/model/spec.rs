//! What a customer orders.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    EgressWish, UnknownWord,
    failure::{Class, Classify},
};

/// What runs under a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Substrate {
    /// Chromium in a container, made a phone.
    #[default]
    Chromium,
    /// An Android device: Google's emulator.
    Emulator,
    /// An Android device: its userland in a container.
    Redroid,
    /// An Android device: Google's virtual one for the cloud.
    Cuttlefish,
}

impl Substrate {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::Chromium,
        Self::Emulator,
        Self::Redroid,
        Self::Cuttlefish,
    ];

    /// The word of journal, API and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Emulator => "emulator",
            Self::Redroid => "redroid",
            Self::Cuttlefish => "cuttlefish",
        }
    }
}

impl fmt::Display for Substrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Substrate {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|one| one.as_str() == word);
        known.ok_or_else(|| UnknownWord {
            word: word.to_owned(),
            allowed: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}

/// An order, validated: two orders under one id are the same order when these are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// What to run.
    pub substrate: Substrate,
    /// Name of the device profile.
    pub profile: String,
    /// Lifetime from creation on.
    pub ttl: Duration,
    /// Without a CDP connection for this long the session ends.
    pub idle_timeout: Duration,
    /// The caller's own labels.
    pub labels: BTreeMap<String, String>,
    /// When set, CDP clients must present it. Kept in the journal, never in a log.
    pub cdp_token: Option<String>,
    /// What is asked of the way out.
    #[serde(default)]
    pub egress: EgressWish,
}

/// An order that no node could accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` must be {allowed}")]
pub struct InvalidSpec {
    /// The field as the caller wrote it.
    pub field: &'static str,
    /// What would have been accepted.
    pub allowed: String,
}

impl Classify for InvalidSpec {
    fn class(&self) -> Class {
        Class::Invalid
    }
}
