//! What may be ordered of this node, and how much of it fits: pure decisions.

use std::time::Duration;

use crate::{
    model::{InvalidSpec, SessionSpec},
    profile,
};

/// Shortest and longest life of a session.
const TTL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
const MAX_LABELS: usize = 32;
const MAX_LABEL: usize = 256;
const MAX_TOKEN: usize = 256;

/// What an idle session takes, with room for a page: measured, see the README's limits.
const SESSION_MEMORY: u64 = 320 << 20;
/// The host, Docker and this program.
const RESERVED_MEMORY: u64 = 1 << 30;

/// Checks everything about an order that does not depend on the node's state.
///
/// # Errors
/// [`InvalidSpec`] names the field and says what is allowed.
pub fn validate(spec: &SessionSpec) -> Result<(), InvalidSpec> {
    let invalid = |field, allowed: String| Err(InvalidSpec { field, allowed });
    let names = profile::names();
    if !names.contains(&spec.profile) {
        return invalid("profile", format!("one of: {}", names.join(", ")));
    }
    for (field, given) in [("ttl", spec.ttl), ("idle_timeout", spec.idle_timeout)] {
        if given < TTL.0 || given > TTL.1 {
            return invalid(field, "between 1 second and 24 hours".to_owned());
        }
    }
    let long = |(key, value): (&String, &String)| {
        key.is_empty() || key.len() > MAX_LABEL || value.len() > MAX_LABEL
    };
    if spec.labels.len() > MAX_LABELS || spec.labels.iter().any(long) {
        return invalid(
            "labels",
            format!("at most {MAX_LABELS}, each key and value at most {MAX_LABEL} bytes"),
        );
    }
    let token = spec.cdp_token.as_deref().unwrap_or_default();
    if token.len() > MAX_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return invalid(
            "cdp_token",
            format!("at most {MAX_TOKEN} printable ASCII characters"),
        );
    }
    Ok(())
}

/// How many sessions fit: the configured number, or as many as the host's memory holds.
#[must_use]
pub(super) fn capacity(configured: u32, memory_total: u64) -> u32 {
    if configured > 0 {
        return configured;
    }
    let fit = memory_total.saturating_sub(RESERVED_MEMORY) / SESSION_MEMORY;
    u32::try_from(fit).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::Substrate;

    fn spec() -> SessionSpec {
        SessionSpec {
            substrate: Substrate::Chromium,
            profile: "default".to_owned(),
            ttl: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            labels: BTreeMap::new(),
            cdp_token: None,
        }
    }

    #[test]
    fn each_refusal_names_its_field() {
        assert_eq!(validate(&spec()), Ok(()));
        let field = |change: fn(&mut SessionSpec)| {
            let mut spec = spec();
            change(&mut spec);
            validate(&spec).unwrap_err().field
        };
        assert_eq!(field(|s| s.profile = "toaster".to_owned()), "profile");
        assert_eq!(field(|s| s.ttl = Duration::from_millis(999)), "ttl");
        assert_eq!(field(|s| s.ttl = Duration::from_secs(86_401)), "ttl");
        assert_eq!(field(|s| s.idle_timeout = Duration::ZERO), "idle_timeout");
        assert_eq!(
            field(|s| drop(s.labels.insert("k".to_owned(), "v".repeat(257)))),
            "labels"
        );
        assert_eq!(
            field(|s| s.cdp_token = Some("two words".to_owned())),
            "cdp_token"
        );
    }

    #[test]
    fn capacity_follows_memory_unless_it_is_given() {
        assert_eq!(capacity(7, 1 << 30), 7);
        assert_eq!(capacity(0, 512 << 20), 1, "a small host still tries");
        assert_eq!(capacity(0, (1 << 30) + 10 * (320 << 20)), 10);
    }
}
