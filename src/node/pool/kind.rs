//! What slots are kept for: orders that are alike.

use crate::{
    instance::substrate::android,
    model::{SessionSpec, Substrate},
    profile,
};

use super::Config;

/// One kind of order. A browser in a container is made for its profile; a device is what it is, whatever
/// profile an order names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::node) struct Kind {
    pub(in crate::node) substrate: Substrate,
    /// Of a device always the default.
    pub(in crate::node) profile: String,
}

/// A kind, and how many of it are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) kind: Kind,
    pub(super) warm: u32,
    /// The most, where orders come fast.
    pub(super) most: u32,
}

impl Kind {
    pub(in crate::node) fn of(spec: &SessionSpec) -> Self {
        Self::new(spec.substrate, &spec.profile)
    }

    pub(super) fn new(substrate: Substrate, profile: &str) -> Self {
        let profile = match substrate {
            Substrate::Chromium => profile,
            Substrate::Emulator | Substrate::Redroid | Substrate::Cuttlefish => profile::DEFAULT,
        };
        Self {
            substrate,
            profile: profile.to_owned(),
        }
    }

    pub(super) fn is_device(&self) -> bool {
        self.substrate != Substrate::Chromium
    }

    /// The word of logs, metrics and events: the profile, or the kind of device.
    #[must_use]
    pub(in crate::node) fn word(&self) -> &str {
        if self.is_device() {
            self.substrate.as_str()
        } else {
            &self.profile
        }
    }
}

/// All that are to be kept.
pub(super) fn kept(config: &Config, devices: &android::Config) -> Vec<Kept> {
    let profiles = config.profiles.iter().map(|profile| Kept {
        kind: Kind::new(Substrate::Chromium, profile),
        warm: config.warm,
        most: config.warm_max,
    });
    let devices = Substrate::ALL.into_iter().filter_map(|substrate| {
        let warm = devices.settled(substrate)?.device.warm;
        let kind = Kind::new(substrate, profile::DEFAULT);
        // Who keeps devices says how many the host can bear.
        let most = warm;
        Some(Kept { kind, warm, most })
    });
    profiles
        .chain(devices)
        .filter(|kept| kept.warm > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_kept_for_its_profile_and_a_device_for_whatever_profile() {
        let browser = Kind::new(Substrate::Chromium, "galaxy-s25");
        assert_eq!(browser.word(), "galaxy-s25");
        let redroid = Kind::new(Substrate::Redroid, "galaxy-s25");
        assert_eq!(redroid, Kind::new(Substrate::Redroid, "default"));
        assert_ne!(redroid, Kind::new(Substrate::Emulator, "default"));
        assert_ne!(redroid, Kind::new(Substrate::Chromium, "default"));
        assert_eq!(redroid.word(), "redroid");
    }

    #[test]
    fn what_is_kept_is_what_is_said_and_nothing_without_a_word() {
        let mut devices = android::Config::default();
        assert_eq!(kept(&Config::default(), &devices), []);
        devices.redroid.warm = 2;
        let config = Config {
            warm: 1,
            warm_max: 4,
            profiles: vec!["a".to_owned(), "b".to_owned()],
            ..Config::default()
        };
        let words: Vec<_> = kept(&config, &devices)
            .into_iter()
            .map(|kept| (kept.kind.word().to_owned(), kept.warm, kept.most))
            .collect();
        let named = |word: &str, warm, most| (word.to_owned(), warm, most);
        let expected = [named("a", 1, 4), named("b", 1, 4), named("redroid", 2, 2)];
        assert_eq!(words, expected);
    }
}
