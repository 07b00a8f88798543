//! What a customer asks of the way out.

use std::{collections::BTreeSet, fmt};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{Bounds, Limits};

/// Which egress route a session is to have; nothing asked means any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EgressWish {
    /// Country, region or city, or several of them as `de-by`.
    pub region: String,
    /// ISO 3166-1.
    pub country: String,
    /// A city.
    pub city: String,
    /// Words that the route must have, all of them.
    pub tags: BTreeSet<String>,
    /// Name of one route.
    pub route: String,
    /// Orders with the same key get the same route, as long as it is free.
    pub sticky: String,
    /// The client's own proxy, in place of a route.
    pub own: Option<OwnProxy>,
    /// What the session may take of it; a route's own limits hold as well.
    pub limits: Limits,
    /// Where the session may be led: within each of them, and within its route's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<Bounds>,
}

/// A proxy that a client brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnProxy {
    /// `socks5://host:port`, without a login.
    pub server: String,
    /// Whether it wants one.
    pub has_login: bool,
    /// The user.
    #[serde(skip)]
    pub username: Unwritten,
    /// The password.
    #[serde(skip)]
    pub password: Unwritten,
}

/// A secret that lives in memory alone: it is never serialised and never printed.
///
/// All are equal, because what is not remembered cannot tell two orders apart.
#[derive(Debug, Clone, Default)]
pub struct Unwritten(Option<SecretString>);

impl Unwritten {
    /// The secret, where there is one.
    #[must_use]
    pub const fn get(&self) -> Option<&SecretString> {
        self.0.as_ref()
    }

    /// The text, for the one place that sends it on; empty where there is none.
    #[must_use]
    pub fn exposed(&self) -> &str {
        self.0.as_ref().map_or("", |secret| secret.expose_secret())
    }
}

impl From<String> for Unwritten {
    fn from(text: String) -> Self {
        Self((!text.is_empty()).then(|| text.into()))
    }
}

impl PartialEq for Unwritten {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Unwritten {}

impl EgressWish {
    /// Whether anything is asked of the route.
    #[must_use]
    pub fn asks(&self) -> bool {
        *self
            != Self {
                sticky: self.sticky.clone(),
                limits: self.limits,
                bounds: self.bounds.clone(),
                ..Self::default()
            }
    }
}

impl fmt::Display for EgressWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            ("route", &self.route),
            ("region", &self.region),
            ("country", &self.country),
            ("city", &self.city),
        ];
        let asked = words.into_iter().filter(|(_, value)| !value.is_empty());
        let asked = asked.map(|(word, value)| format!("{word} \"{value}\""));
        let tags = self.tags.iter().map(|tag| format!("tag \"{tag}\""));
        let all: Vec<_> = asked.chain(tags).collect();
        f.write_str(&all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_shown_as_it_was_asked_and_its_secrets_are_not_kept() {
        let wish = EgressWish {
            region: "de".to_owned(),
            tags: BTreeSet::from(["residential".to_owned()]),
            own: Some(OwnProxy {
                server: "http://gate.example:80".to_owned(),
                has_login: true,
                username: Unwritten::from("customer-7".to_owned()),
                password: Unwritten::from("hunter2".to_owned()),
            }),
            ..EgressWish::default()
        };
        assert_eq!(wish.to_string(), "region \"de\", tag \"residential\"");
        let kept = serde_json::to_string(&wish).unwrap();
        let printed = format!("{wish:?}");
        for secret in ["customer-7", "hunter2"] {
            assert!(!kept.contains(secret) && !printed.contains(secret));
        }
        let found: EgressWish = serde_json::from_str(&kept).unwrap();
        assert_eq!(
            found, wish,
            "a repeat of the order after a restart is the same order"
        );
        assert!(found.own.unwrap().password.get().is_none());
    }

    #[test]
    fn a_key_alone_asks_nothing_of_the_route() {
        let mut wish = EgressWish {
            sticky: "cart-9".to_owned(),
            ..EgressWish::default()
        };
        assert!(!wish.asks());
        wish.country = "de".to_owned();
        assert!(wish.asks());
    }
}
