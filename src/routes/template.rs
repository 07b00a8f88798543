//! Logins with holes: what sticky providers want to be told of a session.
//!
//! | hole | is filled with |
//! |---|---|
//! | `{session}` | sixteen hex digits that are the session's alone (or its sticky key's) |
//! | `{country}`, `{region}`, `{city}` | the route's |
//! | `{ttl}`, `{ttl_minutes}` | the session's lifetime in seconds, in minutes rounded up |
//!
//! The session's id itself is a capability and goes to nobody: what a provider sees is a digest of it.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::Place;

const HOLES: [&str; 6] = ["session", "country", "region", "city", "ttl", "ttl_minutes"];

/// What the holes are filled with.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What stands for the session: its id, or the key that it sticks by.
    pub session: &'a str,
    /// Its lifetime.
    pub ttl: Duration,
    /// The route's place.
    pub place: &'a Place,
}

/// The first hole that nothing fills, or an unclosed one.
pub(super) fn unknown_hole(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let Some(end) = rest[start..].find('}') else {
            return Some(rest[start..].to_owned());
        };
        let hole = &rest[start + 1..start + end];
        if !HOLES.contains(&hole) {
            return Some(format!("{{{hole}}}"));
        }
        rest = &rest[start + end + 1..];
    }
    None
}

pub(super) fn render(text: &SecretString, facts: &Facts<'_>) -> SecretString {
    let mut filled = text.expose_secret().to_owned();
    for hole in HOLES {
        let braced = format!("{{{hole}}}");
        if filled.contains(&braced) {
            filled = filled.replace(&braced, &fill(hole, facts));
        }
    }
    filled.into()
}

fn fill(hole: &str, facts: &Facts<'_>) -> String {
    let seconds = facts.ttl.as_secs();
    match hole {
        "session" => digest(facts.session),
        "country" => facts.place.country.clone(),
        "region" => facts.place.region.clone(),
        "city" => facts.place.city.clone(),
        "ttl" => seconds.to_string(),
        _ => seconds.div_ceil(60).to_string(),
    }
}

fn digest(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        let place = Place {
            country: "de".to_owned(),
            region: "by".to_owned(),
            ..Place::default()
        };
        let facts = Facts {
            session: "sess_0190",
            ttl: Duration::from_secs(601),
            place: &place,
        };
        let filled = render(&SecretString::from(text.to_owned()), &facts);
        filled.expose_secret().to_owned()
    }

    #[test]
    fn holes_are_filled_and_the_sessions_id_is_not_told() {
        assert_eq!(
            rendered("cust-cc-{country}-st-{region}{city}"),
            "cust-cc-de-st-by"
        );
        assert_eq!(rendered("{ttl}/{ttl_minutes}"), "601/11");
        let session = rendered("sid-{session}");
        assert_eq!(session.len(), "sid-".len() + 16);
        assert!(!session.contains("0190"));
        assert_eq!(session, rendered("sid-{session}"), "always the same");
        assert_eq!(rendered("no hole"), "no hole");
    }

    #[test]
    fn what_nothing_fills_is_named() {
        assert_eq!(unknown_hole("{session}-{country}"), None);
        assert_eq!(unknown_hole("{sesion}"), Some("{sesion}".to_owned()));
        assert_eq!(unknown_hole("a{ttl"), Some("{ttl".to_owned()));
    }
}
