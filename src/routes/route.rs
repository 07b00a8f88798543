//! One egress route: configured data, checked.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};

use super::template::{self, Facts};
use crate::{
    model::{Bounds, EgressWish, Limits},
    relay::{self, Login, Scheme, Upstream, Way},
};

/// A way out of this host, under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Unique on this node.
    pub name: String,
    /// How connections leave.
    pub kind: Kind,
    /// Where they come out.
    pub place: Place,
    /// Words that an order may ask for.
    pub tags: BTreeSet<String>,
    /// How many sessions may hold it at a time.
    pub sessions: u32,
    /// How long it rests after its last session.
    pub cooldown: Duration,
    /// What it costs, in the operator's own words.
    pub cost: String,
    /// The address that origins see, where it is known without asking.
    pub exit_ip: Option<IpAddr>,
    /// Who is asked for names, for `direct`; empty: whom the node asks.
    pub nameservers: Vec<SocketAddr>,
    /// What each session may take of it.
    pub limits: Limits,
    /// Where it may lead.
    pub bounds: Bounds,
}

/// How connections leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// From this host, from an address or through an interface of it; both `None` and empty is the
    /// host's default.
    Direct {
        /// A local address.
        address: Option<IpAddr>,
        /// A network interface.
        interface: String,
    },
    /// By way of a proxy.
    Upstream(Proxy),
}

/// A proxy of the operator's.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// What it speaks.
    pub scheme: Scheme,
    /// Its address or name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password, both templates.
    pub login: Option<(SecretString, SecretString)>,
    /// PEM of who may vouch for it; empty means whom the host trusts.
    pub ca: String,
}

/// Where connections come out, and what a browser there would say of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Place {
    /// ISO 3166-1, lower case; empty when unknown.
    pub country: String,
    /// A part of the country.
    pub region: String,
    /// A city.
    pub city: String,
    /// IANA name; empty leaves the profile's.
    pub time_zone: String,
    /// BCP 47; empty leaves the profile's.
    pub locale: String,
    /// Where on earth.
    pub geolocation: Option<Geolocation>,
}

// Coordinates are checked to be finite: equality is an equivalence.
impl Eq for Place {}

/// A position on earth.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Geolocation {
    /// Degrees, north positive.
    pub latitude: f64,
    /// Degrees, east positive.
    pub longitude: f64,
    /// Metres.
    #[serde(default = "fifty_metres")]
    pub accuracy: f64,
}

const fn fifty_metres() -> f64 {
    50.0
}

impl PartialEq for Proxy {
    fn eq(&self, other: &Self) -> bool {
        let login = |of: &Self| {
            let both = of.login.as_ref();
            both.map(|(user, password)| {
                let text = |secret: &SecretString| secret.expose_secret().to_owned();
                (text(user), text(password))
            })
        };
        self.scheme == other.scheme
            && (&self.host, self.port) == (&other.host, other.port)
            && self.ca == other.ca
            && login(self) == login(other)
    }
}

impl Eq for Proxy {}

impl Place {
    /// What a browser there says of itself: of a locale `de-DE` it prefers `de-DE`, `de`, `en-US`, `en`, as
    /// Chrome does that was installed there.
    #[must_use]
    pub fn told(&self) -> relay::Place {
        let mut languages: Vec<String> = Vec::new();
        if !self.locale.is_empty() {
            let (language, _) = self.locale.split_once('-').unwrap_or((&self.locale, ""));
            for one in [&*self.locale, language, "en-US", "en"] {
                if !languages.iter().any(|known| known == one) {
                    languages.push(one.to_owned());
                }
            }
        }
        relay::Place {
            time_zone: self.time_zone.clone(),
            languages,
            position: self.geolocation.map(|at| relay::Position {
                latitude: at.latitude,
                longitude: at.longitude,
                accuracy: at.accuracy,
            }),
        }
    }

    /// `de-by-munich`, as far as it is known.
    #[must_use]
    pub fn label(&self) -> String {
        let parts = [&self.country, &self.region, &self.city];
        let known: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
        known.join("-")
    }
}

impl Route {
    /// One of the bare addresses of `[egress]`, or another of this host under its own name.
    #[must_use]
    pub fn at(address: IpAddr, sessions: u32, cooldown: Duration) -> Self {
        Self {
            name: address.to_string(),
            kind: Kind::Direct {
                address: Some(address),
                interface: String::new(),
            },
            place: Place::default(),
            tags: BTreeSet::new(),
            sessions,
            cooldown,
            cost: String::new(),
            exit_ip: Some(address),
            nameservers: Vec::new(),
            limits: Limits::default(),
            bounds: Bounds::default(),
        }
    }

    /// The local address that must be this host's for it to work.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match &self.kind {
            Kind::Direct { address, .. } => *address,
            Kind::Upstream(_) => None,
        }
    }

    /// `direct 10.0.0.1`, `socks5 gate.example:1080`: never a login.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Direct { address, interface } => {
                let address = address.map(|ip| format!(" {ip}")).unwrap_or_default();
                let interface = match &**interface {
                    "" => String::new(),
                    name => format!(" dev {name}"),
                };
                format!("direct{address}{interface}")
            }
            Kind::Upstream(proxy) => format!("{} {}:{}", proxy.scheme, proxy.host, proxy.port),
        }
    }

    /// Whether everything by way of it comes out at one address: a login that names the session has one for
    /// each.
    #[must_use]
    pub fn has_one_exit(&self) -> bool {
        let Kind::Upstream(Proxy {
            login: Some((user, password)),
            ..
        }) = &self.kind
        else {
            return true;
        };
        let named = |secret: &SecretString| secret.expose_secret().contains("{session}");
        !named(user) && !named(password)
    }

    /// Whether an order that wishes for this may be given it.
    #[must_use]
    pub fn fits(&self, wish: &EgressWish) -> bool {
        let place = &self.place;
        let same = |asked: &str, have: &str| asked.is_empty() || asked.eq_ignore_ascii_case(have);
        let anywhere = |asked: &str| {
            let label = place.label();
            let whole = asked.eq_ignore_ascii_case(&label)
                || [&place.country, &place.region, &place.city]
                    .into_iter()
                    .any(|part| asked.eq_ignore_ascii_case(part));
            // `de-by` of `de-by-munich`.
            let begins = label.get(..asked.len() + 1).is_some_and(|start| {
                start.ends_with('-') && start[..asked.len()].eq_ignore_ascii_case(asked)
            });
            whole || begins
        };
        same(&wish.route, &self.name)
            && same(&wish.country, &place.country)
            && same(&wish.city, &place.city)
            && (wish.region.is_empty() || anywhere(&wish.region))
            && wish.tags.iter().all(|tag| self.tags.contains(tag))
    }

    /// The way out as the relay is told it, for one session.
    #[must_use]
    pub fn way(&self, facts: &Facts<'_>) -> Way {
        let way = match &self.kind {
            Kind::Direct { address, interface } => Way {
                source: *address,
                interface: interface.clone(),
                nameservers: self.nameservers.clone(),
                ..Way::default()
            },
            Kind::Upstream(proxy) => Way {
                upstream: Some(Upstream {
                    scheme: proxy.scheme,
                    host: proxy.host.clone(),
                    port: proxy.port,
                    login: proxy.login.as_ref().map(|(user, password)| Login {
                        username: template::render(user, facts),
                        password: template::render(password, facts),
                    }),
                    ca: proxy.ca.clone(),
                    is_foreign: false,
                }),
                ..Way::default()
            },
        };
        Way {
            place: self.place.told(),
            limits: self.limits,
            bounds: vec![self.bounds.clone()],
            ..way
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.describe())
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
