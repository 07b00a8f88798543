//! Device profiles: what phone a session is, as data.
//!
//! A profile says what every target must report; the container's launch flags
//! ([`crate::instance`]) and the supervisor's overrides ([`crate::relay`]) both follow from it.
//! Nothing here knows Docker or CDP.
//!
//! ```text
//!   devices/*.toml (in the binary) ─┐
//!                                   ├─▶ read: strict ─▶ check: a device could be so ─▶ catalogue
//!   [profile] dir of the operator ──┘                                                    │ by name
//!                                                   relay ◀── JSON: lenient ◀── instance ◀┘
//! ```
//!
//! Written by people, a profile has every field and no other. On its way to a relay that may be older
//! or newer than the agent, a field that one side does not know is skipped or takes its default.

mod catalogue;
mod check;
mod read;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use catalogue::{Catalogue, InvalidCatalogue};
pub use read::{InvalidProfile, parse};

/// The profile of whoever names none.
pub const DEFAULT: &str = "default";

/// `[profile]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A directory with more profiles, one `*.toml` each; empty means none.
    pub dir: PathBuf,
}

/// One device, complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// What an order names.
    pub name: String,
    /// What people call the device.
    #[serde(default)]
    pub title: String,
    /// Languages in order of preference, as `navigator.languages`.
    pub languages: Vec<String>,
    /// IANA name, such as `Europe/Berlin`.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// What `navigator.connection.type` says.
    #[serde(default)]
    pub network: Network,
    /// Who the device says it is.
    pub identity: Identity,
    /// Its display.
    pub screen: Screen,
    /// How it is touched.
    pub input: Input,
    /// What scripts read of its hardware.
    pub hardware: Hardware,
}

/// The identity in User-Agent and client hints. Brands and versions are the running browser's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// `Sec-CH-UA-Model`.
    pub model: String,
    /// The device's own Android, such as `16`.
    pub android_version: String,
    /// `Sec-CH-UA-Platform-Version`, such as `16.0.0`.
    pub platform_version: String,
    /// How much of that the User-Agent says.
    #[serde(default)]
    pub user_agent: UserAgentForm,
    /// `navigator.platform`.
    pub navigator_platform: String,
    /// `Sec-CH-UA-Form-Factors`; what is no `Mobile` is `?0` in `Sec-CH-UA-Mobile`.
    pub form_factors: Vec<String>,
}

/// How much the User-Agent says of the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserAgentForm {
    /// `Android 10; K`, as Chrome sends it from every device since its User-Agent reduction.
    #[default]
    Reduced,
    /// Android's version and the model in the clear, as a `WebView` or an older Chrome would.
    Full,
}

/// The display. One CSS pixel is `device_pixel_ratio` physical ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Screen {
    /// `screen.width`, CSS pixels.
    pub width: u32,
    /// `screen.height`, CSS pixels.
    pub height: u32,
    /// Width of the panel as it is driven, physical pixels.
    #[serde(default)]
    pub physical_width: u32,
    /// Its height.
    #[serde(default)]
    pub physical_height: u32,
    /// `devicePixelRatio`.
    pub device_pixel_ratio: f64,
    /// `screen.orientation.type`, without the `-primary`.
    #[serde(default)]
    pub orientation: Orientation,
    /// Height of the page's viewport with the browser's bars shown, CSS pixels.
    pub viewport_height: u32,
    /// The same after the bars have been scrolled away.
    #[serde(default)]
    pub viewport_height_without_bars: u32,
}

/// Which side is up when the device is held as it was made to be held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orientation {
    /// Taller than wide.
    #[default]
    Portrait,
    /// Wider than tall.
    Landscape,
}

/// How it is touched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// `navigator.maxTouchPoints`.
    pub touch_points: u32,
    /// The media features `pointer` and `any-pointer`.
    #[serde(default)]
    pub pointer: Pointer,
    /// The media features `hover` and `any-hover`.
    #[serde(default)]
    pub hover: Hover,
}

/// How precisely one points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pointer {
    /// A finger.
    #[default]
    Coarse,
    /// A pen or a mouse.
    Fine,
}

/// Whether one can point without touching.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hover {
    /// A finger cannot.
    #[default]
    None,
    /// A pen may.
    Hover,
}

/// Hardware as scripts read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hardware {
    /// `navigator.hardwareConcurrency`.
    pub concurrency: u32,
    /// `navigator.deviceMemory`, GiB.
    #[serde(default)]
    pub memory_gib: u32,
}

/// How the device is on the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The only kind that the browser can be made to see.
    #[default]
    Wifi,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// What of a profile is another after a move.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// The time zone.
    pub time_zone: bool,
    /// The languages.
    pub languages: bool,
}

impl Profile {
    /// The same device elsewhere, and what of it is another there; what is empty stays.
    #[must_use]
    pub fn moved(&self, time_zone: &str, languages: &[String]) -> (Self, Moved) {
        let mut there = self.clone();
        let moved = Moved {
            time_zone: !time_zone.is_empty() && self.time_zone != time_zone,
            languages: !languages.is_empty() && self.languages != languages,
        };
        if moved.time_zone {
            time_zone.clone_into(&mut there.time_zone);
        }
        if moved.languages {
            there.languages = languages.to_vec();
        }
        (there, moved)
    }

    /// What the User-Agent calls Android's version and the model.
    fn told(&self) -> (&str, &str) {
        match self.identity.user_agent {
            UserAgentForm::Reduced => ("10", "K"),
            UserAgentForm::Full => (&self.identity.android_version, &self.identity.model),
        }
    }

    /// Whether it is a phone; a tablet's User-Agent and client hints lack the word.
    #[must_use]
    pub fn is_mobile(&self) -> bool {
        self.identity.form_factors.iter().any(|f| f == "Mobile")
    }

    /// The User-Agent of this device in a browser of this major version.
    #[must_use]
    pub fn user_agent(&self, major: u32) -> String {
        let (version, model) = self.told();
        let mobile = if self.is_mobile() { " Mobile" } else { "" };
        format!(
            "Mozilla/5.0 (Linux; Android {version}; {model}) AppleWebKit/537.36 \
             (KHTML, like Gecko) Chrome/{major}.0.0.0{mobile} Safari/537.36"
        )
    }

    /// The device as the API names it: `Android 10 - Chrome 156 (Mobile)`.
    #[must_use]
    pub fn device(&self, major: u32) -> String {
        let (version, _model) = self.told();
        let kind = if self.is_mobile() { "Mobile" } else { "Tablet" };
        format!("Android {version} - Chrome {major} ({kind})")
    }
}
