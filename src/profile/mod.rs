//! Device profiles: what phone a session is, as data.
//!
//! A profile says what every target must report; the container's launch flags
//! ([`crate::instance`]) and the supervisor's overrides ([`crate::relay`]) both follow from it.
//! Nothing here knows Docker or CDP.

mod catalogue;

use serde::{Deserialize, Serialize};

pub use catalogue::{InvalidProfile, named, names, parse};

/// One device, complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What an order names.
    pub name: String,
    /// Who the device says it is.
    pub identity: Identity,
    /// Its display.
    pub screen: Screen,
    /// How it is touched.
    pub input: Input,
    /// What scripts read of its hardware.
    pub hardware: Hardware,
    /// Languages in order of preference, as `navigator.languages`.
    pub languages: Vec<String>,
}

/// The identity in User-Agent and client hints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// `10` in `Android 10; K` (Chrome's UA reduction sends that on every phone).
    pub android_version: String,
    /// `K` in `Android 10; K`.
    pub ua_model: String,
    /// `Sec-CH-UA-Platform-Version`.
    pub platform_version: String,
    /// `Sec-CH-UA-Model`.
    pub model: String,
    /// `navigator.platform`.
    pub navigator_platform: String,
    /// `Sec-CH-UA-Form-Factors`.
    pub form_factors: Vec<String>,
}

/// The display. CSS pixels times `device_pixel_ratio` are whole physical pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Screen {
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Height of the page's viewport with the browser's bars shown, CSS pixels.
    pub viewport_height: u32,
    /// Physical pixels per CSS pixel.
    pub device_pixel_ratio: f64,
}

/// Touch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// `navigator.maxTouchPoints`.
    pub touch_points: u32,
}

/// Hardware as scripts read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// `navigator.hardwareConcurrency`.
    pub concurrency: u32,
}

impl Profile {
    /// The User-Agent of this device in a browser of this major version.
    #[must_use]
    pub fn user_agent(&self, major: u32) -> String {
        let Identity {
            android_version,
            ua_model,
            ..
        } = &self.identity;
        format!(
            "Mozilla/5.0 (Linux; Android {android_version}; {ua_model}) AppleWebKit/537.36 \
             (KHTML, like Gecko) Chrome/{major}.0.0.0 Mobile Safari/537.36"
        )
    }

    /// The device as the API names it: `Android 10 - Chrome 156 (Mobile)`.
    #[must_use]
    pub fn device(&self, major: u32) -> String {
        format!(
            "Android {} - Chrome {major} (Mobile)",
            self.identity.android_version
        )
    }
}
