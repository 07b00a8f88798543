//! Which commands make a target the phone. Pure.
//!
//! What flags of the browser can say natively is not repeated here, but for what a client's defaults
//! might undo. Workers take identity and hardware only; out-of-process frames have no screen of
//! their own (Chrome: "only supported for top-level targets").
//!
//! The identity of a worker is known to the browser process before the worker starts. Its hardware is
//! told to the worker itself, and on a busy machine Chrome lets a few start before they have heard
//! it, even though they are reported as paused and whether or not the answer is waited for before
//! they are let go. The image's shim makes the value native; the override stands in for an image that
//! was built without it.

use serde_json::json;

use super::brands::Version;
use crate::{
    cdp::Command,
    profile::{Orientation, Profile},
    relay::Place,
};

/// What a target is, as far as overrides care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A tab or a popup.
    Page,
    /// A frame in a process of its own, or another embedded document.
    Frame,
    /// Dedicated, shared or service worker.
    Worker,
    /// Something that runs no page's script.
    Other,
}

impl Kind {
    /// From `TargetInfo.type`.
    pub(super) fn of(target_type: &str) -> Self {
        match target_type {
            "page" => Self::Page,
            "iframe" | "webview" => Self::Frame,
            "worker" | "shared_worker" | "service_worker" => Self::Worker,
            _ => Self::Other,
        }
    }
}

/// The overrides of one target, in the order in which they are sent.
pub(super) fn overrides(profile: &Profile, version: &Version, kind: Kind) -> Vec<Command> {
    let mut commands = Vec::new();
    if kind == Kind::Other {
        return commands;
    }
    commands.push(identity(profile, version));
    commands.push(Command {
        method: "Emulation.setHardwareConcurrencyOverride",
        params: json!({ "hardwareConcurrency": profile.hardware.concurrency }),
    });
    if kind == Kind::Page {
        commands.push(screen(profile));
    }
    if kind != Kind::Worker {
        commands.push(Command {
            method: "Emulation.setTouchEmulationEnabled",
            params: json!({ "enabled": true, "maxTouchPoints": profile.input.touch_points }),
        });
    }
    commands
}

/// What says where the browser is, as far as that is not its own from the start. Chrome takes the time
/// zone and the locale of a process from one connection only and refuses the other's, which is no harm.
pub(super) fn whereabouts(place: &Place, kind: Kind) -> Vec<Command> {
    let mut commands = Vec::new();
    if !matches!(kind, Kind::Page | Kind::Frame) {
        return commands;
    }
    if !place.time_zone.is_empty() {
        commands.push(Command {
            method: "Emulation.setTimezoneOverride",
            params: json!({ "timezoneId": place.time_zone }),
        });
    }
    if let Some(language) = place.languages.first() {
        commands.push(Command {
            method: "Emulation.setLocaleOverride",
            params: json!({ "locale": language.replace('-', "_") }),
        });
    }
    if let Some(at) = place.position.filter(|_| kind == Kind::Page) {
        commands.push(Command {
            method: "Emulation.setGeolocationOverride",
            params: json!({
                "latitude": at.latitude,
                "longitude": at.longitude,
                "accuracy": at.accuracy,
            }),
        });
    }
    commands
}

fn identity(profile: &Profile, version: &Version) -> Command {
    let identity = &profile.identity;
    Command {
        method: "Emulation.setUserAgentOverride",
        params: json!({
            "userAgent": profile.user_agent(version.major),
            "acceptLanguage": profile.languages.join(","),
            "platform": identity.navigator_platform,
            "userAgentMetadata": {
                "brands": version.brands(),
                "fullVersionList": version.full_version_list(),
                "fullVersion": version.full,
                "platform": "Android",
                "platformVersion": identity.platform_version,
                "architecture": "",
                "bitness": "",
                "wow64": false,
                "model": identity.model,
                "mobile": profile.is_mobile(),
                "formFactors": identity.form_factors,
            },
        }),
    }
}

fn screen(profile: &Profile) -> Command {
    let screen = &profile.screen;
    let orientation = match screen.orientation {
        Orientation::Portrait => "portraitPrimary",
        Orientation::Landscape => "landscapePrimary",
    };
    Command {
        method: "Emulation.setDeviceMetricsOverride",
        params: json!({
            "width": screen.width,
            "height": screen.viewport_height,
            "deviceScaleFactor": screen.device_pixel_ratio,
            "mobile": true,
            "screenWidth": screen.width,
            "screenHeight": screen.height,
            "screenOrientation": { "type": orientation, "angle": 0 },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::supervisor::tests::phone;

    fn methods(kind: Kind) -> Vec<&'static str> {
        let version = Version::of("Chrome/156.0.8078.79").unwrap();
        overrides(&phone(), &version, kind)
            .into_iter()
            .map(|command| command.method)
            .collect()
    }

    #[test]
    fn every_kind_that_runs_script_has_the_identity_first() {
        for kind in [Kind::Page, Kind::Frame, Kind::Worker] {
            assert_eq!(methods(kind)[0], "Emulation.setUserAgentOverride");
        }
        assert!(methods(Kind::of("tab")).is_empty());
        assert!(methods(Kind::of("browser_ui")).is_empty());
    }

    #[test]
    fn only_pages_have_a_screen_and_only_documents_are_touched() {
        let screen = "Emulation.setDeviceMetricsOverride";
        let touch = "Emulation.setTouchEmulationEnabled";
        assert!(methods(Kind::Page).contains(&screen));
        assert!(!methods(Kind::Frame).contains(&screen));
        assert!(methods(Kind::Frame).contains(&touch));
        assert!(!methods(Kind::of("service_worker")).contains(&touch));
    }

    #[test]
    fn whereabouts_are_told_to_documents_and_only_where_they_differ() {
        assert!(whereabouts(&Place::default(), Kind::Page).is_empty());
        let place = Place {
            time_zone: "Europe/Berlin".to_owned(),
            languages: vec!["de-DE".to_owned(), "de".to_owned()],
            position: Some(crate::relay::Position {
                latitude: 48.1,
                longitude: 11.6,
                accuracy: 50.0,
            }),
        };
        assert_eq!(whereabouts(&place, Kind::Page).len(), 3);
        assert_eq!(whereabouts(&place, Kind::Frame).len(), 2);
        assert!(whereabouts(&place, Kind::Worker).is_empty());
    }

    #[test]
    fn the_identity_is_complete() {
        let version = Version::of("Chrome/156.0.8078.79").unwrap();
        let params = identity(&phone(), &version).params;
        let agent = params["userAgent"].as_str().unwrap();
        assert!(agent.contains("Android 10; K") && agent.contains("Chrome/156.0.0.0 Mobile"));
        assert_eq!(params["acceptLanguage"], "en-US,en");
        assert_eq!(params["platform"], "Linux armv81");
        assert_eq!(params["userAgentMetadata"]["mobile"], true);
        assert_eq!(
            params["userAgentMetadata"]["fullVersionList"][1]["version"],
            "156.0.8078.79"
        );
    }
}
