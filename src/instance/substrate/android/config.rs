//! `[substrate.emulator]`, `[substrate.redroid]`, `[substrate.cuttlefish]` of the configuration.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::Kind;
use crate::{
    adb::KeyError,
    host::{Ability, Need, Supply},
    model::Substrate,
};

/// The word in `needs` that stands for what is usual for the kind.
const USUAL: &str = "usual";

/// What operators say of the three kinds of device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Google's emulator.
    pub emulator: Device,
    /// Android's userland in a container.
    pub redroid: Device,
    /// Google's virtual device for the cloud.
    pub cuttlefish: Device,
}

/// One kind of device. What is 0 is what is usual for the kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// Name of the image; empty: there are no such devices.
    pub image: String,
    /// What the image needs of the host. An image gets what is named here and nothing else: one that
    /// needs nothing is as hardened as a browser's.
    pub needs: Vec<String>,
    /// Whether it may have a privileged container, where that is among its needs.
    pub allow_privileged: bool,
    /// Arguments of its container, in front of those that are the session's.
    pub arguments: Vec<String>,
    /// From the start of the container to a booted device.
    #[serde(with = "crate::model::duration")]
    pub boot_timeout: Duration,
    /// Memory limit of the container, bytes.
    pub memory_bytes: u64,
    /// CPU limit of the container, thousandths of a core.
    pub cpu_millis: u32,
    /// Booted devices to keep parked: an order for one of them waits for no boot.
    pub warm: u32,
    /// Android's name of the browser.
    pub package: String,
    /// The browser's activity.
    pub activity: String,
    /// File of the key that is shown to an adbd which demands one, as `adb` keeps its own; made where it
    /// is not there. Empty: there is none.
    pub adb_key: PathBuf,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            image: String::new(),
            needs: vec![USUAL.to_owned()],
            allow_privileged: false,
            arguments: Vec::new(),
            boot_timeout: Duration::ZERO,
            memory_bytes: 0,
            cpu_millis: 0,
            warm: 0,
            package: "com.android.chrome".to_owned(),
            activity: "com.google.android.apps.chrome.Main".to_owned(),
            adb_key: PathBuf::new(),
        }
    }
}

/// What a kind is on one host: the usual, with what the operator said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Its kind.
    pub kind: &'static Kind,
    /// The operator's word.
    pub device: Device,
    /// What it needs.
    pub needs: Vec<Need>,
    /// From the start of the container to a booted device.
    pub boot: Duration,
    /// Memory limit, bytes.
    pub memory_bytes: u64,
    /// CPU limit, thousandths of a core.
    pub cpu_millis: u32,
}

/// What comes after the boot: Chrome, and the relay's part.
const AFTER_BOOT: Duration = Duration::from_secs(60);

impl Config {
    /// A kind as it is configured; `None` for a substrate that is no device.
    #[must_use]
    pub fn settled(&self, substrate: Substrate) -> Option<Settled> {
        let kind = Kind::of(substrate)?;
        let device = match substrate {
            Substrate::Emulator => &self.emulator,
            Substrate::Redroid => &self.redroid,
            Substrate::Cuttlefish => &self.cuttlefish,
            Substrate::Chromium => return None,
        };
        let or = |own: u64, usual: u64| if own == 0 { usual } else { own };
        Some(Settled {
            kind,
            // Checked with the configuration.
            needs: device.needs(kind).unwrap_or_default(),
            boot: if device.boot_timeout.is_zero() {
                kind.boot
            } else {
                device.boot_timeout
            },
            memory_bytes: or(device.memory_bytes, kind.memory_bytes),
            cpu_millis: if device.cpu_millis == 0 {
                kind.cpu_millis
            } else {
                device.cpu_millis
            },
            device: device.clone(),
        })
    }

    /// The kinds that an operator lets have privileged containers.
    #[must_use]
    pub fn privileged(&self) -> Vec<&'static str> {
        let all = Kind::ALL.into_iter();
        let settled = all.filter_map(|kind| self.settled(kind.substrate));
        settled
            .filter(|one| one.device.allow_privileged && one.needs.contains(&Need::Privileged))
            .map(|one| one.kind.substrate.as_str())
            .collect()
    }

    /// The first that is wrong: the key, and a sentence of what is allowed.
    #[must_use]
    pub fn problem(&self) -> Option<(String, String)> {
        for kind in Kind::ALL {
            let settled = self.settled(kind.substrate)?;
            let key = |name: &str| format!("substrate.{}.{name}", kind.substrate);
            if let Err(word) = settled.device.needs(kind) {
                let allowed = Need::ALL.map(Need::as_str).join(", ");
                let sentence =
                    format!("names \"{word}\", but must name some of: {USUAL}, {allowed}");
                return Some((key("needs"), sentence));
            }
            let is_name = |text: &str| {
                let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
                !text.is_empty() && text.chars().all(fits)
            };
            for (name, text) in [
                ("package", &settled.device.package),
                ("activity", &settled.device.activity),
            ] {
                if !is_name(text) {
                    let sentence = format!("is \"{text}\", but must be a Java name");
                    return Some((key(name), sentence));
                }
            }
            if cfg!(not(feature = "adb-auth")) && !settled.device.adb_key.as_os_str().is_empty() {
                let sentence = format!("must be empty: {}", KeyError::NotBuilt);
                return Some((key("adb_key"), sentence));
            }
            if settled.device.warm > 0 && settled.device.image.is_empty() {
                let sentence = format!(
                    "is {}, but must be 0 while `image` is empty: there is nothing to keep",
                    settled.device.warm
                );
                return Some((key("warm"), sentence));
            }
            if settled.memory_bytes < 256 << 20 {
                let sentence = "must be 0 or at least 268435456 (256 MiB)".to_owned();
                return Some((key("memory_bytes"), sentence));
            }
        }
        None
    }
}

impl Device {
    /// Its needs; the word that is none.
    fn needs(&self, kind: &Kind) -> Result<Vec<Need>, String> {
        let mut needs = Vec::new();
        for word in &self.needs {
            if word == USUAL {
                needs.extend_from_slice(kind.needs);
            } else {
                needs.push(word.parse().map_err(|_unknown| word.clone())?);
            }
        }
        needs.dedup();
        Ok(needs)
    }
}

impl Settled {
    /// The shortest life that a session on it may ask for.
    #[must_use]
    pub fn least_ttl(&self) -> Duration {
        self.boot + AFTER_BOOT
    }

    /// How many of them this host can run at once as far as the kind goes.
    ///
    /// # Errors
    /// Why there can be none: a sentence that an operator can act on.
    pub fn supply(&self, ability: &Ability) -> Result<Supply, String> {
        for need in &self.needs {
            if let Some(why) = ability.lacks(*need) {
                return Err(why);
            }
        }
        let name = self.kind.substrate;
        if self.needs.contains(&Need::Privileged) && !self.device.allow_privileged {
            return Err(format!(
                "it needs a privileged container, which can take over the host: \
                 `substrate.{name}.allow_privileged` is off"
            ));
        }
        if self.device.image.is_empty() {
            return Err(format!("no image is named: `substrate.{name}.image`"));
        }
        let supplies = self.needs.iter().map(|need| ability.supply(*need));
        Ok(supplies.fold(Supply::Any, |least, one| match (least, one) {
            (Supply::Some(a), Supply::Some(b)) => Supply::Some(a.min(b)),
            (Supply::Any, other) | (other, Supply::Any) => other,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_what_is_usual_for_the_kind() {
        let config = Config::default();
        assert_eq!(config.problem(), None);
        let redroid = config.settled(Substrate::Redroid).unwrap();
        assert_eq!(redroid.needs, [Need::Binder, Need::Privileged]);
        assert_eq!(redroid.least_ttl(), Duration::from_secs(150));
        assert_eq!(config.settled(Substrate::Chromium), None);
        let cuttlefish = config.settled(Substrate::Cuttlefish).unwrap();
        assert_eq!(cuttlefish.kind.adb_port, 6520);
        assert_eq!(cuttlefish.least_ttl(), Duration::from_secs(560));
        let why = cuttlefish.supply(&Ability::default()).unwrap_err();
        assert!(why.contains("kvm"), "{why}");
    }

    #[test]
    fn an_image_gets_what_is_named_and_a_privileged_one_only_where_that_is_allowed() {
        let mut config = Config::default();
        let bare = Ability::default();
        let why = config.settled(Substrate::Redroid).unwrap().supply(&bare);
        assert!(why.unwrap_err().contains("no binder"));
        config.redroid.needs = vec!["privileged".to_owned()];
        let why = config.settled(Substrate::Redroid).unwrap().supply(&bare);
        assert!(
            why.unwrap_err()
                .contains("`substrate.redroid.allow_privileged` is off")
        );
        assert!(config.privileged().is_empty());
        config.redroid.allow_privileged = true;
        assert_eq!(config.privileged(), ["redroid"]);
        let why = config.settled(Substrate::Redroid).unwrap().supply(&bare);
        assert!(why.unwrap_err().contains("`substrate.redroid.image`"));
        config.redroid.image = "x".to_owned();
        let supply = config.settled(Substrate::Redroid).unwrap().supply(&bare);
        assert_eq!(supply, Ok(Supply::Any));
        config.redroid.needs.clear();
        assert!(config.settled(Substrate::Redroid).unwrap().needs.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut config = Config::default();
        config.emulator.needs = vec!["usual".to_owned(), "luck".to_owned()];
        let (key, sentence) = config.problem().unwrap();
        assert_eq!(key, "substrate.emulator.needs");
        assert!(
            sentence.contains("\"luck\"") && sentence.contains("vhost_net"),
            "{sentence}"
        );
        let mut config = Config::default();
        config.cuttlefish.activity = "a; reboot".to_owned();
        assert_eq!(config.problem().unwrap().0, "substrate.cuttlefish.activity");
        let mut config = Config::default();
        config.emulator.warm = 1;
        assert_eq!(config.problem().unwrap().0, "substrate.emulator.warm");
        config.emulator.image = "x".to_owned();
        assert_eq!(config.problem(), None);
        let mut config = Config::default();
        config.redroid.memory_bytes = 1;
        assert_eq!(
            config.problem().unwrap().0,
            "substrate.redroid.memory_bytes"
        );
    }
}
