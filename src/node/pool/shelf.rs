//! What stands ready, and who is taken next: pure.
//!
//! A slot is good for orders of its profile while it runs the present image and is *proven*: the relay
//! said a moment ago that it is attached, supervised and unused. The oldest good one goes first, so
//! that none stands until it is too old.

use std::time::Duration;

use crate::{
    instance::Phone,
    model::{BootInstant, InstanceId},
};

/// One parked instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::node) struct Slot {
    pub(in crate::node) id: InstanceId,
    pub(in crate::node) profile: String,
    pub(in crate::node) phone: Phone,
    /// When it was ordered.
    pub(in crate::node) since: BootInstant,
    /// Whether it may be given away as it is.
    pub(in crate::node) proven: bool,
}

/// Why a slot is taken down unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::node) enum Retired {
    /// It stood for longer than `pool.max_age`.
    Aged,
    /// The image's name means another image now.
    Image,
    /// It was found dead, unsupervised, without a page or in use.
    Decayed,
    /// A session of another profile needed the room.
    GaveWay,
    /// The node is drained.
    Drained,
}

/// All slots, oldest first.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    slots: Vec<Slot>,
}

impl Retired {
    pub(super) const ALL: [Self; 5] = [
        Self::Aged,
        Self::Image,
        Self::Decayed,
        Self::GaveWay,
        Self::Drained,
    ];

    /// The word of logs, metrics and events.
    #[must_use]
    pub(in crate::node) const fn as_str(self) -> &'static str {
        match self {
            Self::Aged => "aged",
            Self::Image => "image",
            Self::Decayed => "decayed",
            Self::GaveWay => "gave_way",
            Self::Drained => "drained",
        }
    }
}

impl Slot {
    /// How long it has been there; `None` when that was before this boot.
    pub(in crate::node) fn age(&self, now: BootInstant) -> Option<Duration> {
        let same = self.since.boot == now.boot;
        same.then(|| Duration::from_micros(now.micros.saturating_sub(self.since.micros)))
    }
}

impl Shelf {
    pub(super) fn put(&mut self, slot: Slot) {
        let at = self
            .slots
            .partition_point(|other| other.since.micros <= slot.since.micros);
        self.slots.insert(at, slot);
    }

    /// The oldest good one for this order.
    pub(super) fn take(&mut self, profile: &str, image: &str) -> Option<Slot> {
        let good =
            |slot: &Slot| slot.proven && slot.profile == profile && slot.phone.image == image;
        let at = self.slots.iter().position(good)?;
        Some(self.slots.remove(at))
    }

    /// The oldest of all, for whoever needs its room.
    pub(super) fn take_any(&mut self) -> Option<Slot> {
        (!self.slots.is_empty()).then(|| self.slots.remove(0))
    }

    /// All of them, for a node that is drained.
    pub(super) fn take_all(&mut self) -> Vec<Slot> {
        std::mem::take(&mut self.slots)
    }

    pub(super) fn remove(&mut self, id: InstanceId) -> Option<Slot> {
        let at = self.slots.iter().position(|slot| slot.id == id)?;
        Some(self.slots.remove(at))
    }

    /// Takes out what may not be given away any more.
    pub(super) fn stale(
        &mut self,
        now: BootInstant,
        image: &str,
        max_age: Duration,
    ) -> Vec<(Slot, Retired)> {
        let why = |slot: &Slot| {
            if slot.phone.image != image {
                Some(Retired::Image)
            } else if slot.age(now).is_none_or(|age| age >= max_age) {
                Some(Retired::Aged)
            } else {
                None
            }
        };
        let (stale, good): (Vec<_>, Vec<_>) =
            self.slots.drain(..).partition(|slot| why(slot).is_some());
        self.slots = good;
        let reasoned = stale.into_iter().map(|slot| {
            let why = why(&slot).unwrap_or(Retired::Aged);
            (slot, why)
        });
        reasoned.collect()
    }

    /// Nothing is given away until it is proven again.
    pub(super) fn doubt(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.proven = false);
    }

    pub(super) fn prove(&mut self, id: InstanceId) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == id) {
            slot.proven = true;
        }
    }

    pub(super) fn depth(&self, profile: &str) -> usize {
        let of_it = |slot: &&Slot| slot.profile == profile;
        self.slots.iter().filter(of_it).count()
    }

    pub(super) fn oldest(&self, profile: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.profile == profile)
    }

    pub(super) fn all(&self) -> &[Slot] {
        &self.slots
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::boot_id;

    const AGE: Duration = Duration::from_secs(60);

    fn at(secs: u64) -> BootInstant {
        BootInstant {
            boot: boot_id().unwrap(),
            micros: secs * 1_000_000,
        }
    }

    fn slot(profile: &str, image: &str, secs: u64) -> Slot {
        Slot {
            id: InstanceId::random(),
            profile: profile.to_owned(),
            phone: Phone {
                capabilities: None,
                device: String::new(),
                version: String::new(),
                image: image.to_owned(),
            },
            since: at(secs),
            proven: true,
        }
    }

    #[test]
    fn the_oldest_of_the_same_profile_and_image_goes_first_and_only_once() {
        let mut shelf = Shelf::default();
        let (young, old) = (slot("default", "a", 9), slot("default", "a", 5));
        for slot in [
            young.clone(),
            slot("pixel", "a", 1),
            old.clone(),
            slot("default", "b", 2),
        ] {
            shelf.put(slot);
        }
        assert_eq!(shelf.take("default", "a"), Some(old));
        assert_eq!(shelf.take("default", "a"), Some(young));
        assert_eq!(shelf.take("default", "a"), None);
        assert_eq!(shelf.depth("default"), 1, "of the other image");
    }

    #[test]
    fn what_is_doubted_stays_until_it_is_proven() {
        let mut shelf = Shelf::default();
        let one = slot("default", "a", 1);
        shelf.put(one.clone());
        shelf.doubt();
        assert_eq!(shelf.take("default", "a"), None);
        shelf.prove(one.id);
        assert_eq!(shelf.take("default", "a"), Some(one));
    }

    #[test]
    fn another_image_and_age_make_stale_and_another_boot_is_old() {
        let mut shelf = Shelf::default();
        let (old, other) = (slot("default", "a", 10), slot("default", "b", 69));
        let fresh = slot("default", "a", 11);
        let mut elsewhen = slot("default", "a", 69);
        elsewhen.since.boot = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        for slot in [&old, &other, &fresh, &elsewhen] {
            shelf.put(slot.clone());
        }
        let mut stale = shelf.stale(at(70), "a", AGE);
        stale.sort_by_key(|(slot, why)| (*why, slot.since.micros));
        let expected = [
            (old, Retired::Aged),
            (elsewhen, Retired::Aged),
            (other, Retired::Image),
        ];
        assert_eq!(stale, expected);
        assert_eq!(shelf.all(), [fresh]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_given_twice(
            acts in prop::collection::vec((0..4_u8, 0..2_usize, 0..100_u64), 0..60),
        ) {
            let profiles = ["default", "pixel"];
            let mut shelf = Shelf::default();
            let (mut put, mut out) = (0, std::collections::HashSet::new());
            for (act, which, secs) in acts {
                let taken: Vec<_> = match act {
                    0 | 1 => {
                        shelf.put(slot(profiles[which], "a", secs));
                        put += 1;
                        Vec::new()
                    }
                    2 => shelf.take(profiles[which], "a").into_iter().collect(),
                    _ => shelf.stale(at(secs), "a", AGE).into_iter().map(|(s, _)| s).collect(),
                };
                for slot in taken {
                    prop_assert!(out.insert(slot.id), "given twice");
                }
                let oldest_first = shelf.all().is_sorted_by_key(|slot| slot.since.micros);
                prop_assert!(oldest_first);
                prop_assert_eq!(shelf.all().len() + out.len(), put);
            }
        }
    }
}
