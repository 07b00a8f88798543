//! What stands ready, and who is taken next: pure.
//!
//! A slot is good for orders of its kind while it runs the present image and is *proven*: the relay
//! said a moment ago that it is attached, supervised and unused. The oldest good one goes first, so
//! that none stands until it is too old.

use std::{collections::HashMap, time::Duration};

use super::kind::Kind;

use crate::{
    instance::Phone,
    model::{BootInstant, InstanceId, Substrate},
};

/// One parked instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::node) struct Slot {
    pub(in crate::node) id: InstanceId,
    pub(in crate::node) kind: Kind,
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
    /// An order that had no use for it needed the room.
    GaveWay,
    /// The node is drained.
    Drained,
}

/// Ids of the images that the configured names mean, as far as Docker has said it.
pub(super) type Images = HashMap<Substrate, String>;

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
    pub(super) fn take(&mut self, kind: &Kind, images: &Images) -> Option<Slot> {
        let image = images.get(&kind.substrate);
        let good = |slot: &Slot| {
            slot.proven && slot.kind == *kind && image.is_some_and(|id| *id == slot.phone.image)
        };
        let at = self.slots.iter().position(good)?;
        Some(self.slots.remove(at))
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
        images: &Images,
        max_age: Duration,
    ) -> Vec<(Slot, Retired)> {
        let why = |slot: &Slot| {
            // Before Docker has said what the image is, none can be another one.
            let image = images.get(&slot.kind.substrate);
            if image.is_some_and(|id| *id != slot.phone.image) {
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

    pub(super) fn depth(&self, kind: &Kind) -> usize {
        let of_it = |slot: &&Slot| slot.kind == *kind;
        self.slots.iter().filter(of_it).count()
    }

    pub(super) fn oldest(&self, kind: &Kind) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.kind == *kind)
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

    fn of(profile: &str) -> Kind {
        Kind::new(Substrate::Chromium, profile)
    }

    fn images() -> Images {
        Images::from([(Substrate::Chromium, "a".to_owned())])
    }

    fn slot(profile: &str, image: &str, secs: u64) -> Slot {
        Slot {
            id: InstanceId::random(),
            kind: of(profile),
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
        assert_eq!(shelf.take(&of("default"), &images()), Some(old));
        assert_eq!(shelf.take(&of("default"), &images()), Some(young));
        assert_eq!(shelf.take(&of("default"), &images()), None);
        assert_eq!(shelf.depth(&of("default")), 1, "of the other image");
    }

    #[test]
    fn an_order_is_given_what_was_made_for_its_kind_and_each_kind_has_its_image() {
        let redroid = Kind::new(Substrate::Redroid, "pixel");
        let parked = Slot {
            kind: redroid.clone(),
            ..slot("default", "r", 1)
        };
        let mut shelf = Shelf::default();
        shelf.put(parked.clone());
        let mut known = images();
        assert_eq!(shelf.take(&redroid, &known), None, "of what image?");
        assert_eq!(shelf.stale(at(2), &known, AGE), []);
        known.insert(Substrate::Redroid, "r".to_owned());
        for other in [of("default"), Kind::new(Substrate::Emulator, "default")] {
            known.insert(other.substrate, "r".to_owned());
            assert_eq!(shelf.take(&other, &known), None);
        }
        assert_eq!(shelf.take(&redroid, &known), Some(parked));
    }

    #[test]
    fn what_is_doubted_stays_until_it_is_proven() {
        let mut shelf = Shelf::default();
        let one = slot("default", "a", 1);
        shelf.put(one.clone());
        shelf.doubt();
        assert_eq!(shelf.take(&of("default"), &images()), None);
        shelf.prove(one.id);
        assert_eq!(shelf.take(&of("default"), &images()), Some(one));
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
        let mut stale = shelf.stale(at(70), &images(), AGE);
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
                    2 => shelf.take(&of(profiles[which]), &images()).into_iter().collect(),
                    _ => shelf.stale(at(secs), &images(), AGE).into_iter().map(|(s, _)| s).collect(),
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
