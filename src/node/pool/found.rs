//! What there is for an order already.
//!
//! A browser is there in a second; a device boots for minutes, and where its kind has few places the one
//! that boots for the pool has the last of them. So an order takes over the boot of its kind that is
//! furthest: from then on it is the session's, as if it had been begun for it, and no claim of one that
//! stands ready. Which one is decided here, and pure.

use tokio::time::Instant;

use super::{
    Slot,
    kind::Kind,
    state::{Start, State},
};
use crate::{
    instance::{Instances, View},
    model::InstanceId,
};

/// What an order finds: its own from now on, to use or to put back.
#[derive(Debug)]
pub(in crate::node) enum Found {
    /// One that stands ready.
    Parked(Slot),
    /// A device that boots.
    Booting(InstanceId, Start),
    /// Neither.
    Nothing,
}

/// How far a start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing of it is there yet: it is being journalled.
    Planned,
    /// It boots, or has just come up.
    UnderWay,
    /// It came to nothing, which is about to be noticed.
    Over,
}

/// A start, as far as it matters here.
#[derive(Debug, Clone, Copy)]
struct Seen<'a> {
    kind: &'a Kind,
    image: &'a str,
    began: Instant,
    stage: Stage,
}

impl Found {
    /// Its instance; none where one is to be made.
    pub(in crate::node) const fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::Parked(slot) => Some(slot.id),
            Self::Booting(id, _) => Some(*id),
            Self::Nothing => None,
        }
    }
}

impl State {
    /// The boot of this kind that is furthest, if an order may have it. One that is only planned is called
    /// off where there is none: the order is made one itself, in that place.
    pub(super) fn take_over(
        &mut self,
        kind: &Kind,
        instances: &Instances,
    ) -> Option<(InstanceId, Start)> {
        let stage = |id, start: &Start| match instances.get(id).map(|one| one.view()) {
            _ if !start.driven => Stage::Planned,
            Some(View::Starting(_) | View::Parked(_)) => Stage::UnderWay,
            _ => Stage::Over,
        };
        let seen: Vec<_> = (self.starting.iter())
            .map(|(id, start)| {
                let seen = Seen {
                    kind: &start.kind,
                    image: &start.image,
                    began: start.began,
                    stage: stage(*id, start),
                };
                (*id, seen)
            })
            .collect();
        let image = self.images.get(&kind.substrate).map(String::as_str);
        let (id, stage) = choose(kind, image, &seen)?;
        let start = self.starting.remove(&id)?;
        (stage == Stage::UnderWay).then_some((id, start))
    }
}

/// Of those of this kind, and of the image that its name means now: the first that began, else one that has not
/// begun. Only devices: a browser is made for its order faster than another's start is worth waiting for.
fn choose(
    kind: &Kind,
    image: Option<&str>,
    starts: &[(InstanceId, Seen<'_>)],
) -> Option<(InstanceId, Stage)> {
    if !kind.is_device() {
        return None;
    }
    let fits = |(_, seen): &&(InstanceId, Seen<'_>)| {
        seen.kind == kind && Some(seen.image) == image && seen.stage != Stage::Over
    };
    let fitting = starts.iter().filter(fits);
    let first = fitting.min_by_key(|(id, seen)| (seen.stage == Stage::Planned, seen.began, *id));
    first.map(|(id, seen)| (*id, seen.stage))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Substrate;

    #[test]
    fn an_order_takes_over_the_boot_of_its_kind_that_is_furthest_and_of_no_other_image() {
        let redroid = Kind::new(Substrate::Redroid, "default");
        let emulator = Kind::new(Substrate::Emulator, "default");
        let browser = Kind::new(Substrate::Chromium, "default");
        let began = Instant::now();
        let start = |kind, image, secs, stage| {
            let began = began + Duration::from_secs(secs);
            let seen = Seen {
                kind,
                image,
                began,
                stage,
            };
            (InstanceId::random(), seen)
        };
        let starts = [
            start(&redroid, "a", 0, Stage::Over),
            start(&redroid, "b", 1, Stage::UnderWay),
            start(&redroid, "a", 2, Stage::Planned),
            start(&redroid, "a", 4, Stage::UnderWay),
            start(&redroid, "a", 3, Stage::UnderWay),
            start(&emulator, "a", 0, Stage::Planned),
            start(&browser, "a", 0, Stage::UnderWay),
        ];
        let chosen = |kind, image, starts: &[_]| choose(kind, image, starts);
        let taken = |at: usize| Some((starts[at].0, starts[at].1.stage));
        assert_eq!(chosen(&redroid, Some("a"), &starts), taken(4));
        assert_eq!(chosen(&redroid, Some("b"), &starts), taken(1));
        assert_eq!(chosen(&redroid, Some("a"), &starts[..3]), taken(2));
        assert_eq!(chosen(&redroid, Some("a"), &starts[..1]), None, "it failed");
        assert_eq!(chosen(&redroid, None, &starts), None, "nobody knows");
        assert_eq!(chosen(&emulator, Some("a"), &starts), taken(5));
        assert_eq!(chosen(&browser, Some("a"), &starts), None);
    }
}
