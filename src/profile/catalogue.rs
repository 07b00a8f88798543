//! The profiles that the binary brings, embedded as data and validated when first asked for.

use std::{collections::BTreeMap, sync::LazyLock};

use super::Profile;

const EMBEDDED: &[&str] = &[include_str!("default.toml")];

static CATALOGUE: LazyLock<BTreeMap<String, Profile>> = LazyLock::new(|| {
    EMBEDDED
        .iter()
        .map(|text| parse(text).expect("embedded profiles are checked by a test"))
        .map(|profile| (profile.name.clone(), profile))
        .collect()
});

/// A profile that no device could have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProfile {
    /// The text is not a profile.
    #[error("not a profile: {0}")]
    Malformed(String),
    /// One value contradicts another, or sense.
    #[error("`{field}` must be {allowed}")]
    Value {
        /// The field, dotted.
        field: &'static str,
        /// What would have been accepted.
        allowed: &'static str,
    },
}

/// The profile of this name.
#[must_use]
pub fn named(name: &str) -> Option<Profile> {
    CATALOGUE.get(name).cloned()
}

/// The names that [`named`] knows, sorted.
#[must_use]
pub fn names() -> Vec<String> {
    CATALOGUE.keys().cloned().collect()
}

/// Reads one profile and checks that a device could have it.
///
/// # Errors
/// [`InvalidProfile`], naming the field.
pub fn parse(text: &str) -> Result<Profile, InvalidProfile> {
    let profile: Profile =
        toml::from_str(text).map_err(|error| InvalidProfile::Malformed(error.to_string()))?;
    validate(&profile)?;
    Ok(profile)
}

/// A check: whether it holds, the field, what would have been accepted.
type Check = (bool, &'static str, &'static str);

fn validate(profile: &Profile) -> Result<(), InvalidProfile> {
    words(profile)
        .into_iter()
        .chain(numbers(profile))
        .find(|(holds, ..)| !holds)
        .map_or(Ok(()), |(_, field, allowed)| {
            Err(InvalidProfile::Value { field, allowed })
        })
}

fn words(profile: &Profile) -> [Check; 4] {
    let identity = &profile.identity;
    // `Sec-CH-UA-Model` and the like are header values: plain ASCII, no quotes.
    let header = |text: &String| {
        let plain = |c| (' '..='~').contains(&c) && c != '"' && c != '\\';
        !text.is_empty() && text.chars().all(plain)
    };
    let word = |text: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        !text.is_empty() && text.chars().all(plain)
    };
    let said = [
        &identity.android_version,
        &identity.ua_model,
        &identity.platform_version,
        &identity.model,
        &identity.navigator_platform,
    ];
    [
        (word(&profile.name), "name", "letters, digits, `-` and `_`"),
        (
            said.into_iter().all(header),
            "identity",
            "printable ASCII without quotes",
        ),
        (
            !identity.form_factors.is_empty() && identity.form_factors.iter().all(header),
            "identity.form_factors",
            "one or more, printable ASCII without quotes",
        ),
        (
            !profile.languages.is_empty() && profile.languages.iter().all(word),
            "languages",
            "one or more language tags",
        ),
    ]
}

fn numbers(profile: &Profile) -> [Check; 6] {
    let screen = &profile.screen;
    let side = 100..=4_000;
    let whole = |css: u32| (f64::from(css) * screen.device_pixel_ratio).fract() == 0.0;
    [
        (
            side.contains(&screen.width) && side.contains(&screen.height),
            "screen",
            "between 100 and 4000 CSS pixels a side",
        ),
        (
            (1.0..=5.0).contains(&screen.device_pixel_ratio),
            "screen.device_pixel_ratio",
            "between 1 and 5",
        ),
        // With a fraction, the page and an out-of-process frame round differently.
        (
            whole(screen.width) && whole(screen.height),
            "screen.device_pixel_ratio",
            "such that the screen is whole physical pixels",
        ),
        (
            (1..=screen.height).contains(&screen.viewport_height),
            "screen.viewport_height",
            "at most the screen's height",
        ),
        (
            (1..=16).contains(&profile.input.touch_points),
            "input.touch_points",
            "between 1 and 16",
        ),
        (
            (1..=64).contains(&profile.hardware.concurrency),
            "hardware.concurrency",
            "between 1 and 64",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_profile_is_valid_and_named_once() {
        assert_eq!(names().len(), EMBEDDED.len());
        for text in EMBEDDED {
            let profile = parse(text).unwrap();
            assert_eq!(named(&profile.name), Some(profile));
        }
    }

    #[test]
    fn the_default_is_a_phone() {
        let profile = named("default").unwrap();
        assert_eq!(
            profile.user_agent(156),
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/156.0.0.0 Mobile Safari/537.36"
        );
        assert_eq!(profile.device(156), "Android 10 - Chrome 156 (Mobile)");
        assert_eq!(named("no-such-profile"), None);
    }

    #[test]
    fn impossible_devices_are_refused_by_field() {
        let text = include_str!("default.toml");
        let refused = |from: &str, to: &str| match parse(&text.replace(from, to)) {
            Err(InvalidProfile::Value { field, .. }) => field,
            other => panic!("{from} -> {to}: {other:?}"),
        };
        assert_eq!(
            refused("viewport_height = 693", "viewport_height = 781"),
            "screen.viewport_height"
        );
        assert_eq!(
            refused("ratio = 3.0", "ratio = 2.626"),
            "screen.device_pixel_ratio"
        );
        assert_eq!(refused("\"SM-S911B\"", "'a\"b'"), "identity");
        assert_eq!(
            refused("touch_points = 5", "touch_points = 0"),
            "input.touch_points"
        );
        assert_eq!(refused("[\"en-US\", \"en\"]", "[]"), "languages");
        assert!(matches!(
            parse(&text.replace("[input]", "[imput]")),
            Err(InvalidProfile::Malformed(_))
        ));
    }

    #[test]
    fn profiles_survive_their_json() {
        let profile = named("default").unwrap();
        let json = serde_json::to_string(&profile).unwrap();
        assert_eq!(serde_json::from_str::<Profile>(&json).unwrap(), profile);
    }
}
