//! Identifiers. A session id is a capability (whoever knows it may attach), so both `Display` and
//! `Debug` print its first three groups only; [`SessionId::as_str`] is the one way to the whole.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::{NoContext, Timestamp, Uuid};

/// `sess_` and a UUIDv7 (RFC 9562) whose random bits are all random.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

/// A started browser: a bare UUIDv7. Everything on the host is keyed by it; it is no capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(Uuid);

/// A node: chosen once per state directory, kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(Uuid);

/// Text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{kind}` must be {allowed}")]
pub struct InvalidId {
    /// Which field was wrong.
    pub kind: &'static str,
    /// What would have been accepted.
    pub allowed: &'static str,
}

const SESSION_PREFIX: &str = "sess_";
/// `xxxxxxxx-xxxx-xxxx`: the timestamp and twelve random bits.
const PRINTED: usize = 18;

fn fresh() -> Uuid {
    Uuid::new_v7(Timestamp::now(NoContext))
}

impl SessionId {
    /// A fresh id.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("{SESSION_PREFIX}{}", fresh().hyphenated()))
    }

    /// The whole id: for the wire, the journal and the client, never for a log.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId {
            kind: "session_id",
            allowed: "`sess_` followed by a lower-case UUIDv7",
        };
        let Some(tail) = text.strip_prefix(SESSION_PREFIX) else {
            return Err(invalid);
        };
        match Uuid::try_parse(tail) {
            Ok(id) if id.get_version_num() == 7 && id.hyphenated().to_string() == tail => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(invalid),
        }
    }
}

impl TryFrom<String> for SessionId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", &self.0[..SESSION_PREFIX.len() + PRINTED])
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! uuid_id {
    ($name:ident, $field:literal) => {
        impl $name {
            /// A fresh id.
            #[must_use]
            pub fn random() -> Self {
                Self(fresh())
            }

            /// The id as a number, for fixed-size records.
            #[must_use]
            pub const fn as_u128(self) -> u128 {
                self.0.as_u128()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_invalid| InvalidId {
                        kind: $field,
                        allowed: "a UUID",
                    })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

uuid_id!(InstanceId, "instance_id");
uuid_id!(NodeId, "node_id");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_never_prints_whole() {
        let id = SessionId::random();
        let printed = format!("{id} {id:?}");
        assert!(!printed.contains(id.as_str()));
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
    }

    #[test]
    fn only_the_canonical_form_is_a_session_id() {
        for bad in [
            "",
            "sess_",
            "sess_019ec0d0a88a73f297418030dc82a854",
            "sess_019EC0D0-A88A-73F2-9741-8030DC82A854",
            "sess_9f3d6a9e-7c5e-4b7e-9c0e-0d5c8f1e2a3b",
            "019ec0d0-a88a-73f2-9741-8030dc82a854",
        ] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
    }
}
