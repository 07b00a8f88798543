//! Sets of targets, as they are asked and as they are written down.

use std::collections::HashSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A list of a set that travels with an order may be so long.
const LONGEST: usize = 1024;

/// A set of targets, by what can be known of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Targets {
    /// Addresses that are connected to.
    pub networks: Vec<IpNet>,
    /// Names, each with all below it.
    pub hosts: Hosts,
    /// Ports.
    pub ports: Vec<u16>,
    /// How it is asked for.
    pub forms: Vec<Form>,
}

/// Names, each with all that is below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(HashSet<String>);

/// How a page asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An `http://` request that the proxy reads.
    Plain,
    /// A tunnel: `https://`, WebSockets, whatever is not for the proxy to read.
    Tunnel,
}

/// Targets as people and programs write them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Written {
    /// CIDRs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
    /// Names such as `example.com`; a `*.` before one says nothing more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// `http` and `https`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemes: Vec<String>,
}

/// What is no set of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTargets {
    /// A name that is none.
    #[error("must have `hosts` such as \"example.com\", each with all below it")]
    Host,
    /// A scheme that is none.
    #[error("must have `schemes` of \"http\" and \"https\"")]
    Scheme,
    /// Of a kind more than there can be.
    #[error("must have at most {LONGEST} of `networks`, `hosts`, `ports` and `schemes` each")]
    Many,
}

impl Targets {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that it is short enough to travel with an order.
    ///
    /// # Errors
    /// [`InvalidTargets::Many`].
    pub fn fit(&self) -> Result<(), InvalidTargets> {
        let longest = self.networks.len().max(self.ports.len());
        let longest = longest.max(self.hosts.0.len()).max(self.forms.len());
        if longest > LONGEST {
            return Err(InvalidTargets::Many);
        }
        Ok(())
    }
}

impl TryFrom<Written> for Targets {
    type Error = InvalidTargets;

    fn try_from(written: Written) -> Result<Self, InvalidTargets> {
        let name = |name: &String| {
            let plain = name.trim_start_matches("*.").trim_matches('.');
            plain.to_ascii_lowercase()
        };
        let hosts: HashSet<String> = written.hosts.iter().map(name).collect();
        let word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fine = |name: &String| !name.is_empty() && name.chars().all(word);
        if !hosts.iter().all(fine) {
            return Err(InvalidTargets::Host);
        }
        let forms = written.schemes.iter().map(|word| Form::read(word));
        Ok(Self {
            networks: written.networks,
            hosts: Hosts(hosts),
            ports: written.ports,
            forms: forms.collect::<Option<_>>().ok_or(InvalidTargets::Scheme)?,
        })
    }
}

impl From<Targets> for Written {
    fn from(targets: Targets) -> Self {
        let forms = targets.forms.iter();
        let mut hosts: Vec<_> = targets.hosts.0.into_iter().collect();
        hosts.sort_unstable();
        Self {
            networks: targets.networks,
            hosts,
            ports: targets.ports,
            schemes: forms.map(|form| form.as_str().to_owned()).collect(),
        }
    }
}

impl Hosts {
    /// One name a line, in lower case.
    #[must_use]
    pub fn of(lines: &str) -> Self {
        let lines = lines.lines().filter(|line| !line.is_empty());
        Self(lines.map(str::to_owned).collect())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `name`, in lower case and without the root's dot, is one of them or below one.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        let mut rest = Some(name);
        while let Some(part) = rest {
            if self.0.contains(part) {
                return true;
            }
            rest = part.split_once('.').map(|(_, above)| above);
        }
        false
    }
}

impl Form {
    /// The word of the configuration: the scheme that pages use for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tunnel => "https",
        }
    }

    /// Reads [`Form::as_str`].
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        [Self::Plain, Self::Tunnel]
            .into_iter()
            .find(|form| form.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Targets, String> {
        serde_json::from_value(value).map_err(|error: serde_json::Error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let targets = read(json!({
            "networks": ["10.0.0.0/8", "2001:db8::/32"],
            "hosts": ["*.Example.com", "a.test."],
            "ports": [80, 443],
            "schemes": ["https"],
        }));
        let targets = targets.unwrap();
        assert!(targets.hosts.holds("www.example.com") && targets.hosts.holds("a.test"));
        let written = serde_json::to_value(&targets).unwrap();
        assert_eq!(written["hosts"], json!(["a.test", "example.com"]));
        assert_eq!(read(written), Ok(targets));
        assert_eq!(
            serde_json::to_string(&Targets::default()).unwrap(),
            "{}",
            "what says nothing costs nothing"
        );
    }

    #[test]
    fn what_is_no_target_is_refused_by_its_field() {
        for (wrong, named) in [
            (json!({ "hosts": ["a b"] }), "`hosts`"),
            (json!({ "hosts": ["*."] }), "`hosts`"),
            (json!({ "schemes": ["ftp"] }), "`schemes`"),
            (json!({ "names": [] }), "`names`"),
            (json!({ "networks": ["10.0.0.0/33"] }), "IP"),
            (json!({ "ports": [65_536] }), "u16"),
        ] {
            let said = read(wrong).unwrap_err();
            assert!(said.contains(named), "{said}");
        }
        let many: Vec<_> = (0..=LONGEST).collect();
        assert_eq!(
            read(json!({ "ports": many })).unwrap().fit(),
            Err(InvalidTargets::Many)
        );
    }
}
