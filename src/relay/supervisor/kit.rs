//! What both connections have in hand: what the browser is made, and where it is said to be.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    brands::Version,
    covered::Covered,
    exempt::Exempt,
    heart::Heart,
    overrides::{Kind, overrides, whereabouts},
};
use crate::{cdp::Command, profile::Profile, relay::Place};

/// What a connection does to targets.
#[derive(Debug)]
pub(super) struct Kit {
    /// A device is the phone that it is: it is told where it is, and nothing else.
    pub(super) is_device: bool,
    /// Held to look or to change, never across a wait.
    pub(super) worn: Mutex<Worn>,
    pub(super) version: Version,
    pub(super) exempt: Arc<Exempt>,
    pub(super) covered: Arc<Covered>,
    pub(super) heart: Heart,
}

/// What the browser is, and where.
#[derive(Debug, Clone)]
pub(super) struct Worn {
    pub(super) profile: Arc<Profile>,
    /// What of its place is not the profile's own.
    pub(super) place: Place,
}

impl Kit {
    pub(super) fn profile(&self) -> Arc<Profile> {
        Arc::clone(&self.worn.lock().profile)
    }

    /// The browser is there from now on; false when it says so already.
    pub(super) fn settle(&self, place: &Place) -> bool {
        let mut worn = self.worn.lock();
        let (profile, mut moved) = worn.profile.moved(&place.time_zone, &place.languages);
        if self.is_device {
            // No profile is on it: what a profile says of a place, the device does not say.
            let (zone, languages) = (&place.time_zone, &place.languages);
            moved.time_zone = !zone.is_empty() && *zone != worn.place.time_zone;
            moved.languages = !languages.is_empty() && *languages != worn.place.languages;
        }
        let time_zone = if moved.time_zone {
            place.time_zone.clone()
        } else {
            worn.place.time_zone.clone()
        };
        let languages = if moved.languages {
            place.languages.clone()
        } else {
            worn.place.languages.clone()
        };
        let now = Place {
            time_zone,
            languages,
            position: place.position.or(worn.place.position),
        };
        let changed = moved.time_zone || moved.languages || now != worn.place;
        worn.profile = Arc::new(profile);
        worn.place = now;
        changed
    }

    /// What `target` is sent: all but what a client emulates there itself.
    pub(super) fn overrides(&self, target: &str, kind: Kind) -> Vec<Command> {
        let Worn { profile, place } = self.worn.lock().clone();
        let mut commands = Vec::new();
        if !self.is_device {
            commands = overrides(&profile, &self.version, kind);
        }
        commands.extend(whereabouts(&place, kind));
        commands.retain(|command| !self.exempt.covers(target, command.method));
        commands
    }
}
