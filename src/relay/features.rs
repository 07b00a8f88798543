//! What a relay can be told that one of an older program would not understand.
//!
//! The protocol is additive: a field that a relay does not know is skipped without a word, and a relay
//! lives on over upgrades of its agent. So each relay lists in its answer to `Hello` what it understands;
//! what an order needs is read off the message that is about to be sent, and an order that needs what the
//! relay lacks is refused by name and never sent. A relay that lists nothing is from before there was a list.
//!
//! A field of an order that changes what becomes of it needs a [`Feature`]: a test compares `relay.proto`
//! with the table here.

use std::{collections::BTreeSet, fmt};

use crate::{runtime::failpoint, wire::relay as pb};

/// Something that not every relay understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// A pace from so many bytes on.
    Throttle,
    /// Bounds of more than one party.
    MoreBounds,
    /// Another way out under a session that lives.
    Reroute,
    /// A browser on an Android device.
    OnDevice,
    /// A key for the device's adbd.
    AdbKey,
}

impl Feature {
    /// Everything that this program understands.
    pub const ALL: [Self; 5] = [
        Self::Throttle,
        Self::MoreBounds,
        Self::Reroute,
        Self::OnDevice,
        Self::AdbKey,
    ];

    /// Its word in `Hello`: never changed.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::MoreBounds => "more_bounds",
            Self::Reroute => "reroute",
            Self::OnDevice => "on_device",
            Self::AdbKey => "adb_key",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What this program's relay says of itself.
pub(super) fn words() -> Vec<String> {
    let left_out = |one: &Feature| failpoint::is_named(format_args!("relay without {one}"));
    let said = Feature::ALL.iter().filter(|one| !left_out(one));
    said.map(|one| one.word().to_owned()).collect()
}

/// What a relay understands that said these `words`; a newer one may have said more than we know.
pub(super) fn read(words: &[String]) -> BTreeSet<Feature> {
    let said = |one: &Feature| words.iter().any(|word| word == one.word());
    Feature::ALL.into_iter().filter(said).collect()
}

/// What a way out needs.
pub(super) fn of_route(route: &pb::Route) -> BTreeSet<Feature> {
    let throttles = |limits: &pb::Limits| {
        limits.throttle_after_bytes > 0 || limits.throttle_bytes_per_second > 0
    };
    let throttles = route.limits.as_ref().is_some_and(throttles);
    let throttle = throttles.then_some(Feature::Throttle);
    let bounds = (!route.more_bounds.is_empty()).then_some(Feature::MoreBounds);
    throttle.into_iter().chain(bounds).collect()
}

/// What a claim needs.
pub(super) fn of_bind(bind: &pb::BindRequest) -> BTreeSet<Feature> {
    let mut needs = bind.route.as_ref().map(of_route).unwrap_or_default();
    needs.extend(bind.reroute.then_some(Feature::Reroute));
    needs
}

/// What taking an instance on needs.
pub(super) fn of_attach(attach: &pb::AttachRequest) -> BTreeSet<Feature> {
    let Some(device) = &attach.on_device else {
        return BTreeSet::new();
    };
    let key = (!device.adb_key.is_empty()).then_some(Feature::AdbKey);
    key.into_iter().chain([Feature::OnDevice]).collect()
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::{DescriptorProto, FileDescriptorSet};

    use super::*;

    /// Fields from this number on came after the first relay that was let go; every relay knows the rest.
    const NEW: i32 = 80;

    /// Each new field of an order, and what it needs; `None` where a relay that skips it harms nobody.
    const TABLE: [(&str, &str, Option<Feature>); 12] = [
        ("Limits", "throttle_after_bytes", Some(Feature::Throttle)),
        (
            "Limits",
            "throttle_bytes_per_second",
            Some(Feature::Throttle),
        ),
        ("Route", "more_bounds", Some(Feature::MoreBounds)),
        ("BindRequest", "reroute", Some(Feature::Reroute)),
        ("AttachRequest", "on_device", Some(Feature::OnDevice)),
        ("OnDevice", "adb_key", Some(Feature::AdbKey)),
        // A relay that has its counters does not need it; one that lost them counts anew, as it always did.
        ("BindRequest", "used", None),
        // Beside the bytes: shown, and no order or limit reads it.
        ("Traffic", "connections", None),
        // Shown or not, nothing else.
        ("EgressPolicy", "top_hosts", None),
        // What it does is the same, traced or not.
        ("HelloRequest", "collector", None),
        // Answers.
        ("HelloResponse", "features", None),
        ("AttachResponse", "capabilities", None),
    ];

    fn new_fields(message: &DescriptorProto) -> Vec<(String, String)> {
        let new = message.field.iter().filter(|field| field.number() >= NEW);
        let named = |name: &str| (message.name().to_owned(), name.to_owned());
        new.map(|field| named(field.name())).collect()
    }

    #[test]
    fn every_new_field_of_an_order_says_what_it_needs_of_a_relay() {
        let set = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
        let set = FileDescriptorSet::decode(&set[..]).unwrap();
        let file = set
            .file
            .iter()
            .find(|file| file.package() == "chaser.relay.v1");
        let messages = &file.unwrap().message_type;
        let new: BTreeSet<_> = messages.iter().flat_map(new_fields).collect();
        let told = |(message, field, _): (&str, &str, _)| (message.to_owned(), field.to_owned());
        let told: BTreeSet<_> = TABLE.map(told).into();
        assert_eq!(
            new, told,
            "an older relay skips a field that it does not know: give it a line in this table, and a \
             feature where an order would become another one without it"
        );
        let needed: BTreeSet<_> = TABLE.iter().filter_map(|(_, _, needs)| *needs).collect();
        assert_eq!(needed, Feature::ALL.into());
    }

    #[test]
    fn an_order_needs_what_it_says_and_nothing_else() {
        let plain = pb::BindRequest {
            route: Some(pb::Route {
                limits: Some(pb::Limits {
                    quota_bytes: 1,
                    ..pb::Limits::default()
                }),
                ..pb::Route::default()
            }),
            ..pb::BindRequest::default()
        };
        assert_eq!(of_bind(&plain), BTreeSet::new());
        let all = pb::BindRequest {
            reroute: true,
            route: Some(pb::Route {
                more_bounds: vec![pb::Bounds::default()],
                limits: Some(pb::Limits {
                    throttle_bytes_per_second: 1,
                    ..pb::Limits::default()
                }),
                ..pb::Route::default()
            }),
            ..pb::BindRequest::default()
        };
        let needs = [Feature::Throttle, Feature::MoreBounds, Feature::Reroute];
        assert_eq!(of_bind(&all), needs.into());
        let device = pb::AttachRequest {
            on_device: Some(pb::OnDevice::default()),
            ..pb::AttachRequest::default()
        };
        assert_eq!(of_attach(&device), [Feature::OnDevice].into());
        let locked = pb::AttachRequest {
            on_device: Some(pb::OnDevice {
                adb_key: vec![1],
                ..pb::OnDevice::default()
            }),
            ..pb::AttachRequest::default()
        };
        let needs = [Feature::OnDevice, Feature::AdbKey];
        assert_eq!(of_attach(&locked), needs.into());
        assert_eq!(of_attach(&pb::AttachRequest::default()), BTreeSet::new());
    }

    #[test]
    fn words_of_another_age_are_no_matter() {
        assert_eq!(read(&words()), Feature::ALL.into());
        assert_eq!(read(&[]), BTreeSet::new());
        let newer = ["flight", "more_bounds"].map(str::to_owned);
        assert_eq!(read(&newer), [Feature::MoreBounds].into());
    }
}
