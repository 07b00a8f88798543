//! What the sessions of a workspace, or of one key, may do on their way out.
//!
//! It travels with every order of theirs to the node, which enforces it. What a workspace, a key, a
//! route, the node and the order itself say all holds: nothing here can widen what another narrows.
//! It is read with each order: sessions that live keep what they were ordered with.

use serde::{Deserialize, Serialize};

use crate::model::{Bounds, EgressWish, Limits, Targets};

/// A policy as an operator writes it; what is empty says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// What each session may take: at most this, and this where the order does not say.
    pub limits: Limits,
    /// Nothing but these.
    pub only: Targets,
    /// None of these.
    pub never: Targets,
}

/// A text that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no policy: {0}")]
pub struct InvalidPolicy(String);

impl Policy {
    /// Reads TOML.
    ///
    /// # Errors
    /// [`InvalidPolicy`] names the field.
    pub fn from_toml(text: &str) -> Result<Self, InvalidPolicy> {
        let table: toml::Table = toml::from_str(text)
            .map_err(|error: toml::de::Error| InvalidPolicy(error.message().to_owned()))?;
        let policy: Self = serde_path_to_error::deserialize(table).map_err(|error| {
            let path = error.path().to_string();
            InvalidPolicy(format!("`{path}`: {}", error.inner().message()))
        })?;
        let limits = policy.limits.check();
        limits.map_err(|half| InvalidPolicy(format!("`limits`: {half}")))?;
        for (field, targets) in [("only", &policy.only), ("never", &policy.never)] {
            let fit = targets.fit();
            fit.map_err(|problem| InvalidPolicy(format!("`{field}` {problem}")))?;
        }
        Ok(policy)
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A wish that this policy lets through.
    #[must_use]
    pub fn narrow(&self, wish: EgressWish) -> EgressWish {
        let limits = wish.limits.and(self.limits);
        let bounds = Bounds {
            only: self.only.clone(),
            never: self.never.clone(),
        };
        let mut all = wish.bounds;
        if !bounds.is_empty() {
            all.push(bounds);
        }
        EgressWish {
            limits,
            bounds: all,
            ..wish
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_narrows_and_never_widens() {
        let policy = Policy::from_toml(
            "[limits]\nquota_bytes = 1000\nconnections = 8\n[never]\nports = [22]\n",
        );
        let policy = policy.unwrap();
        let wish = EgressWish {
            limits: Limits {
                quota_bytes: 5000,
                connections: 2,
                requests_per_minute: 7,
                ..Limits::default()
            },
            ..EgressWish::default()
        };
        let narrowed = policy.narrow(Policy::default().narrow(wish));
        assert_eq!(narrowed.limits.quota_bytes, 1000);
        assert_eq!(narrowed.limits.connections, 2);
        assert_eq!(narrowed.limits.requests_per_minute, 7);
        assert_eq!(
            narrowed.bounds.len(),
            1,
            "what says nothing adds nothing: {narrowed:?}"
        );
        let stored = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&stored).unwrap(), policy);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("[limits]\nquota_bytes = \"5G\"", "`limits.quota_bytes`"),
            ("[limits]\nquota_bytes = -1", "`limits.quota_bytes`"),
            ("[limits]\nquota = 1", "`quota`"),
            (
                "[limits]\nthrottle_after_bytes = 1",
                "`throttle_bytes_per_second`",
            ),
            ("[nevr]\nports = [22]", "`nevr`"),
            ("[never]\nports = [70000]", "`never.ports[0]`"),
            ("[only]\nnetworks = [\"10.0.0.0/33\"]", "`only.networks[0]`"),
            ("[only]\nhosts = [\"a b\"]", "`hosts`"),
            ("[only]\nschemes = [\"ftp\"]", "`schemes`"),
            ("only", "no policy"),
        ] {
            let said = Policy::from_toml(text).unwrap_err().to_string();
            assert!(said.contains(named), "{text}: {said}");
        }
    }
}
