//! What no type can say of a device: ranges, and what must agree.

use super::{InvalidProfile, Orientation, Profile};

/// A check: whether it holds, the field, its value, what would have been accepted.
type Check = (bool, &'static str, String, &'static str);

/// The literal that the image's browser has for workers, which take no other.
const NAVIGATOR_PLATFORM: &str = "Linux armv81";
/// The languages that the image's browser can be in.
const LOCALES: &str = include_str!("../../images/chromium/locales");
/// What `navigator.deviceMemory` can be on Android.
const MEMORY: [u32; 4] = [1, 2, 4, 8];

/// Whether a device could be so.
///
/// # Errors
/// The first field that contradicts another, or sense.
pub(super) fn check(profile: &Profile) -> Result<(), InvalidProfile> {
    let all = names(profile)
        .into_iter()
        .chain(identity(profile))
        .chain(screen(profile))
        .chain(hardware(profile));
    for (holds, field, found, allowed) in all {
        if !holds {
            let allowed = allowed.to_owned();
            return Err(InvalidProfile::Value {
                field,
                found,
                allowed,
            });
        }
    }
    Ok(())
}

/// One word of letters, digits and a few signs: safe as a name, in a flag and in a header.
fn word(text: &str, signs: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || signs.contains(c);
    !text.is_empty() && text.chars().all(plain)
}

/// What may stand between the quotes of a header.
fn header(text: &str) -> bool {
    let plain = |c| (' '..='~').contains(&c) && !['"', '\\', ';', '(', ')'].contains(&c);
    !text.is_empty() && text.chars().all(plain)
}

fn is_locale(tag: &str) -> bool {
    !tag.starts_with('#') && LOCALES.lines().any(|line| line == tag)
}

fn quoted(text: impl AsRef<str>) -> String {
    format!("{:?}", text.as_ref())
}

fn names(profile: &Profile) -> [Check; 4] {
    let Profile {
        name,
        title,
        languages,
        time_zone,
        ..
    } = profile;
    [
        (
            word(name, "-_") && name.len() <= 64,
            "name",
            quoted(name),
            "1 to 64 letters, digits, `-` and `_`",
        ),
        (
            !title.trim().is_empty() && !title.contains(char::is_control),
            "title",
            quoted(title),
            "what people call the device, on one line",
        ),
        (
            languages.first().is_some_and(|first| is_locale(first))
                && languages.iter().all(|tag| word(tag, "-")),
            "languages",
            format!("{languages:?}"),
            "language tags, the first with its country and one that the image has, such as \
             \"en-US\" (`images/chromium/locales` lists them)",
        ),
        (
            word(time_zone, "/_+-") && (time_zone == "UTC" || time_zone.contains('/')),
            "time_zone",
            quoted(time_zone),
            "an IANA name such as \"Europe/Berlin\", or \"UTC\"",
        ),
    ]
}

fn identity(profile: &Profile) -> [Check; 5] {
    let identity = &profile.identity;
    let version = |text: &str, most: usize| {
        let parts: Vec<_> = text.split('.').collect();
        parts.len() <= most && parts.iter().all(|part| part.parse::<u16>().is_ok())
    };
    let factors = &identity.form_factors;
    [
        (
            header(&identity.model),
            "identity.model",
            quoted(&identity.model),
            "printable ASCII without quotes, brackets and semicolons",
        ),
        (
            version(&identity.android_version, 3),
            "identity.android_version",
            quoted(&identity.android_version),
            "a version such as \"16\"",
        ),
        (
            version(&identity.platform_version, 3)
                && identity.platform_version.split('.').next()
                    == identity.android_version.split('.').next(),
            "identity.platform_version",
            quoted(&identity.platform_version),
            "the version of `identity.android_version` in up to three parts, such as \"16.0.0\"",
        ),
        (
            identity.navigator_platform == NAVIGATOR_PLATFORM,
            "identity.navigator_platform",
            quoted(&identity.navigator_platform),
            "\"Linux armv81\", as Chrome says on every Android and the image's workers do",
        ),
        (
            matches!(&factors[..], [one] if one == "Mobile" || one == "Tablet"),
            "identity.form_factors",
            format!("{factors:?}"),
            "[\"Mobile\"] or [\"Tablet\"]",
        ),
    ]
}

fn screen(profile: &Profile) -> [Check; 6] {
    let screen = &profile.screen;
    let side = 100..=4_000;
    let ratio = screen.device_pixel_ratio;
    // Android rounds up what is no whole CSS pixel.
    let fits = |css: u32, physical: u32| {
        let exact = f64::from(physical) / ratio;
        (0.0..1.0).contains(&(f64::from(css) - exact + 1e-6))
    };
    let whole = |css: u32| (f64::from(css) * ratio).fract() == 0.0;
    let upright = screen.height >= screen.width;
    [
        (
            side.contains(&screen.width) && side.contains(&screen.height),
            "screen",
            format!("{} x {}", screen.width, screen.height),
            "between 100 and 4000 CSS pixels a side",
        ),
        (
            (1.0..=5.0).contains(&ratio),
            "screen.device_pixel_ratio",
            ratio.to_string(),
            "between 1 and 5",
        ),
        (
            fits(screen.width, screen.physical_width)
                && fits(screen.height, screen.physical_height),
            "screen.device_pixel_ratio",
            ratio.to_string(),
            "physical pixels per CSS pixel: physical_width / device_pixel_ratio, rounded up, is \
             width, and the same for the height",
        ),
        (
            upright == (screen.orientation == Orientation::Portrait),
            "screen.orientation",
            format!("{:?}", screen.orientation).to_lowercase(),
            "\"portrait\" where height is at least width, else \"landscape\"",
        ),
        (
            (100..=screen.height).contains(&screen.viewport_height)
                && whole(screen.viewport_height),
            "screen.viewport_height",
            screen.viewport_height.to_string(),
            "from 100 to the screen's height, and whole physical pixels: else `visualViewport` and \
             `innerHeight` differ",
        ),
        (
            (screen.viewport_height..=screen.height).contains(&screen.viewport_height_without_bars),
            "screen.viewport_height_without_bars",
            screen.viewport_height_without_bars.to_string(),
            "from `screen.viewport_height` to the screen's height",
        ),
    ]
}

fn hardware(profile: &Profile) -> [Check; 3] {
    let touch_points = profile.input.touch_points;
    let hardware = &profile.hardware;
    [
        (
            (1..=16).contains(&touch_points),
            "input.touch_points",
            touch_points.to_string(),
            "between 1 and 16",
        ),
        (
            (1..=64).contains(&hardware.concurrency),
            "hardware.concurrency",
            hardware.concurrency.to_string(),
            "between 1 and 64",
        ),
        (
            MEMORY.contains(&hardware.memory_gib),
            "hardware.memory_gib",
            hardware.memory_gib.to_string(),
            "1, 2, 4 or 8: Chrome tells no page of more than 8",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    const TEXT: &str = include_str!("devices/default.toml");

    #[test]
    fn impossible_devices_are_refused_by_field() {
        for (from, to, field) in [
            (
                "viewport_height = 693",
                "viewport_height = 781",
                "screen.viewport_height",
            ),
            (
                "without_bars = 749",
                "without_bars = 692",
                "screen.viewport_height_without_bars",
            ),
            ("ratio = 3.0", "ratio = 2.9", "screen.device_pixel_ratio"),
            ("ratio = 3.0", "ratio = nan", "screen.device_pixel_ratio"),
            ("\"portrait\"", "\"landscape\"", "screen.orientation"),
            ("\"SM-S911B\"", "'a\"b'", "identity.model"),
            ("\"14.0.0\"", "\"15.0.0\"", "identity.platform_version"),
            ("armv81", "aarch64", "identity.navigator_platform"),
            ("[\"Mobile\"]", "[]", "identity.form_factors"),
            ("touch_points = 5", "touch_points = 0", "input.touch_points"),
            ("memory_gib = 8", "memory_gib = 12", "hardware.memory_gib"),
            ("[\"en-US\", \"en\"]", "[]", "languages"),
            ("\"en-US\", ", "\"tlh-US\", ", "languages"),
            ("America/New_York", "New York", "time_zone"),
            ("name = \"default\"", "name = \"a b\"", "name"),
        ] {
            let changed = TEXT.replacen(from, to, 1);
            assert_ne!(changed, TEXT, "{from}");
            let said = parse(&changed).unwrap_err().to_string();
            assert!(said.starts_with(&format!("`{field}` is ")), "{to}: {said}");
            assert!(said.contains(", but must be "), "{said}");
        }
    }
}
