//! Routes as they are written: `[[route]]` tables in a TOML file, one of which may stand for many.
//!
//! What is wrong is refused by the route's name and the key's, and the whole file with it: an operator
//! who mistypes one route shall not find out from a session that came out elsewhere.

mod login;

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::{
    Geolocation, Kind, Place, Proxy, Route, expand,
    secret::{self, Place as At},
    template,
};
use crate::{
    model::{Bounds, Limits, Targets, Written},
    relay::Scheme,
};

/// Routes that one node may have.
const MOST: usize = 4096;

/// A file of routes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "route")]
    routes: Vec<Table>,
}

/// One `[[route]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    kind: String,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    interface: String,
    #[serde(default)]
    nameservers: Vec<SocketAddr>,
    #[serde(default)]
    server: String,
    #[serde(default)]
    username: String,
    username_file: Option<PathBuf>,
    username_credential: Option<String>,
    password_file: Option<PathBuf>,
    password_credential: Option<String>,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    country: String,
    #[serde(default)]
    region: String,
    #[serde(default)]
    city: String,
    #[serde(default)]
    tags: BTreeSet<String>,
    #[serde(default)]
    time_zone: String,
    #[serde(default)]
    locale: String,
    geolocation: Option<Geolocation>,
    #[serde(default = "one")]
    sessions: u32,
    #[serde(default, with = "crate::model::duration")]
    cooldown: Duration,
    #[serde(default)]
    cost: String,
    exit_ip: Option<IpAddr>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    only: Written,
    #[serde(default)]
    never: Written,
}

const fn one() -> u32 {
    1
}

/// Why routes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The file.
    #[error("the routes in {} cannot be read: {why}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is not what it should be.
    #[error("these are no routes: {0}")]
    Syntax(String),
    /// A key of a route.
    #[error("route `{route}`: `{key}` {problem}")]
    Key {
        /// Whose.
        route: String,
        /// Which.
        key: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// Two of one name.
    #[error("there are two routes named `{0}`")]
    Twice(String),
    /// More than a node can have.
    #[error("there are {0} routes; a node has at most {MOST}")]
    TooMany(usize),
}

/// The routes of a file.
///
/// # Errors
/// [`Refused`] by the first thing that is wrong.
pub fn from_file(path: &Path) -> Result<Vec<Route>, Refused> {
    let text = fs::read_to_string(path).map_err(|error| Refused::Unreadable {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    from_text(&text)
}

/// The routes of a text.
///
/// # Errors
/// [`Refused`] by the first thing that is wrong; nothing of a value is quoted, in case it is a secret.
pub fn from_text(text: &str) -> Result<Vec<Route>, Refused> {
    let file: File = toml::from_str(text)
        .map_err(|error: toml::de::Error| Refused::Syntax(sentence(text, &error)))?;
    let mut routes = Vec::new();
    for table in file.routes {
        routes.extend(table.routes()?);
        if routes.len() > MOST {
            return Err(Refused::TooMany(routes.len()));
        }
    }
    unique(&routes)?;
    Ok(routes)
}

/// No name may be there twice.
///
/// # Errors
/// [`Refused::Twice`].
pub(super) fn unique(routes: &[Route]) -> Result<(), Refused> {
    let mut names = BTreeSet::new();
    match routes.iter().find(|route| !names.insert(&route.name)) {
        Some(twice) => Err(Refused::Twice(twice.name.clone())),
        None => Ok(()),
    }
}

/// What the parser says and where, without the line itself.
fn sentence(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| before.matches('\n').count() + 1);
    let line = line.map_or_else(String::new, |line| format!("line {line}: "));
    format!("{line}{}", error.message())
}

impl Table {
    fn wrong(&self, key: &'static str, problem: impl Into<String>) -> Refused {
        Refused::Key {
            route: self.name.clone(),
            key,
            problem: problem.into(),
        }
    }

    fn require(&self, fine: bool, key: &'static str, problem: &str) -> Result<(), Refused> {
        if fine {
            Ok(())
        } else {
            Err(self.wrong(key, problem))
        }
    }

    /// All that this table stands for.
    fn routes(&self) -> Result<Vec<Route>, Refused> {
        self.check()?;
        let kinds = if self.kind == "direct" {
            self.direct()?
        } else {
            self.upstreams()?
        };
        let several = kinds.len() > 1;
        let targets = |key, written: &Written| {
            let read = Targets::try_from(written.clone());
            read.map_err(|problem| self.wrong(key, problem.to_string()))
        };
        let bounds = Bounds {
            only: targets("only", &self.only)?,
            never: targets("never", &self.never)?,
        };
        let limits = self.limits.check();
        let limits = limits.map_err(|half| self.wrong("limits", half.to_string()))?;
        let place = Place {
            country: self.country.to_ascii_lowercase(),
            region: self.region.to_ascii_lowercase(),
            city: self.city.to_ascii_lowercase(),
            time_zone: self.time_zone.clone(),
            locale: self.locale.clone(),
            geolocation: self.geolocation,
        };
        let route = |(suffix, kind): (String, Kind)| {
            let own = match &kind {
                Kind::Direct { address, .. } => *address,
                Kind::Upstream(_) => None,
            };
            Route {
                name: match several {
                    true => format!("{}-{suffix}", self.name),
                    false => self.name.clone(),
                },
                kind,
                place: place.clone(),
                tags: self.tags.clone(),
                sessions: self.sessions,
                cooldown: self.cooldown,
                cost: self.cost.clone(),
                exit_ip: self.exit_ip.or(own),
                nameservers: self.nameservers.clone(),
                limits,
                bounds: bounds.clone(),
            }
        };
        Ok(kinds.into_iter().map(route).collect())
    }

    fn check(&self) -> Result<(), Refused> {
        let word = |text: &str| {
            let fine = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
            (1..=64).contains(&text.len()) && text.chars().all(fine)
        };
        let or_empty = |text: &str| text.is_empty() || word(text);
        let allowed = "must be 1 to 64 letters, digits, `-`, `_`, `.` or `:`";
        self.require(word(&self.name), "name", allowed)?;
        for (key, text) in [
            ("country", &self.country),
            ("region", &self.region),
            ("city", &self.city),
        ] {
            self.require(or_empty(text), key, allowed)?;
        }
        self.require(self.tags.iter().all(|tag| word(tag)), "tags", allowed)?;
        self.require(self.sessions > 0, "sessions", "must be at least 1")?;
        let zone = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
        let zone = self.time_zone.chars().all(zone);
        self.require(
            zone,
            "time_zone",
            "must be a name such as \"Europe/Berlin\"",
        )?;
        let locale = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let locale = self.locale.chars().all(locale);
        self.require(locale, "locale", "must be a tag such as \"de-DE\"")?;
        let on_earth = self.geolocation.is_none_or(|at| {
            (-90.0..=90.0).contains(&at.latitude)
                && (-180.0..=180.0).contains(&at.longitude)
                && at.accuracy.is_finite()
                && at.accuracy >= 0.0
        });
        let allowed = "must be degrees on earth, with an accuracy in metres";
        self.require(on_earth, "geolocation", allowed)
    }

    fn direct(&self) -> Result<Vec<(String, Kind)>, Refused> {
        let none = "is for the kinds http, https and socks5 only";
        self.require(self.server.is_empty(), "server", none)?;
        self.require(!self.names_a_user(), "username", none)?;
        self.require(!self.names_a_password(), "password_file", none)?;
        self.require(
            self.ca_file.is_none(),
            "ca_file",
            "is for the kind https only",
        )?;
        let mut addresses = Vec::new();
        for text in &self.addresses {
            let more = expand::addresses(text);
            addresses.extend(more.map_err(|problem| self.wrong("addresses", problem))?);
            if addresses.len() > MOST {
                return Err(Refused::TooMany(addresses.len()));
            }
        }
        let kind = |address: Option<IpAddr>| Kind::Direct {
            address,
            interface: self.interface.clone(),
        };
        if addresses.is_empty() {
            return Ok(vec![(String::new(), kind(None))]);
        }
        let each = addresses.into_iter();
        Ok(each.map(|ip| (ip.to_string(), kind(Some(ip)))).collect())
    }

    fn upstreams(&self) -> Result<Vec<(String, Kind)>, Refused> {
        let scheme: Scheme = self
            .kind
            .parse()
            .map_err(|_unknown| self.wrong("kind", "must be direct, http, https or socks5"))?;
        let none = "is for the kind direct only";
        self.require(self.addresses.is_empty(), "addresses", none)?;
        self.require(self.interface.is_empty(), "interface", none)?;
        self.require(self.nameservers.is_empty(), "nameservers", none)?;
        let only = self.ca_file.is_none() || scheme == Scheme::Https;
        self.require(only, "ca_file", "is for the kind https only")?;
        let (host, ports) =
            expand::server(&self.server).map_err(|problem| self.wrong("server", problem))?;
        let login = self.login()?;
        let ca = match &self.ca_file {
            None => String::new(),
            Some(path) => fs::read_to_string(path)
                .map_err(|error| self.wrong("ca_file", format!("cannot be read: {error}")))?,
        };
        let holds = ca.is_empty() || ca.contains("-----BEGIN CERTIFICATE-----");
        self.require(holds, "ca_file", "must hold certificates as PEM")?;
        let kind = |port: u16| {
            let proxy = Proxy {
                scheme,
                host: host.clone(),
                port,
                login: login.clone(),
                ca: ca.clone(),
            };
            (port.to_string(), Kind::Upstream(proxy))
        };
        Ok(ports.map(kind).collect())
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
