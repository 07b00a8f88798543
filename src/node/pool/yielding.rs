//! What is given up for an order that nothing stands for: pure.
//!
//! What is missed least goes first: browsers, which are there again in a second, before devices, which boot
//! for minutes; of each what is still starting, the youngest first, then what has stood for longest. No more
//! goes than the order needs, and nothing where all of it would not do.

use std::cmp::Reverse;

use tokio::time::Instant;

use super::{
    shelf::{Retired, Slot},
    state::State,
};
use crate::{instance::Instances, model::InstanceId};

/// What an order lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::node) struct Lack {
    /// A place among the sessions.
    pub(in crate::node) place: bool,
    /// Memory, bytes.
    pub(in crate::node) memory: u64,
}

/// What is parked or starts, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    id: InstanceId,
    device: bool,
    stands: Stands,
    /// What it takes now, bytes; 0 where that is not known.
    memory: u64,
}

/// Since when it is what it is; the first goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stands {
    /// It has been starting since.
    Starting(Reverse<Instant>),
    /// It stands, after so many that have stood for longer.
    Parked(usize),
}

impl State {
    /// Takes out what goes for an order that lacks this; false, and nothing goes, where it would not do.
    pub(super) fn give_way(&mut self, lack: Lack, instances: &Instances) -> bool {
        let memory = |id| {
            let usage = (lack.memory > 0).then(|| instances.get(id)?.usage());
            usage.flatten().map_or(0, |(bytes, _cpu)| bytes)
        };
        let starting = self.starting.iter().map(|(id, start)| Kept {
            id: *id,
            device: start.kind.is_device(),
            stands: Stands::Starting(Reverse(start.began)),
            memory: memory(*id),
        });
        let parked = (self.shelf.all().iter().enumerate()).map(|(at, slot)| Kept {
            id: slot.id,
            device: slot.kind.is_device(),
            stands: Stands::Parked(at),
            memory: memory(slot.id),
        });
        let Some(chosen) = choose(starting.chain(parked).collect(), lack) else {
            return false;
        };
        if lack.place {
            // The session that is admitted counts in its place; what goes beside it is counted until it is gone.
            self.giving_way.extend(chosen.first());
        }
        let slots = chosen.into_iter().filter_map(|id| self.take_out(id));
        let slots: Vec<_> = slots.map(|slot| (slot, Retired::GaveWay)).collect();
        self.leaving.extend(slots);
        true
    }

    fn take_out(&mut self, id: InstanceId) -> Option<Slot> {
        let start = self.starting.remove(&id).map(|start| start.slot(id));
        start.or_else(|| self.shelf.remove(id))
    }
}

/// Which go.
fn choose(mut kept: Vec<Kept>, lack: Lack) -> Option<Vec<InstanceId>> {
    let does = |chosen: &[Kept]| {
        let memory: u64 = chosen.iter().map(|one| one.memory).sum();
        chosen.len() >= usize::from(lack.place) && memory >= lack.memory
    };
    kept.sort_by_key(|one| (one.device, one.stands, one.id));
    let enough = (0..=kept.len()).find(|count| does(&kept[..*count]))?;
    kept.truncate(enough);
    // A large one at the end may do without the small ones before it.
    let mut at = 0;
    while at < kept.len() {
        let one = kept.remove(at);
        if !does(&kept) {
            kept.insert(at, one);
            at += 1;
        }
    }
    Some(kept.into_iter().map(|one| one.id).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const PLACE: Lack = Lack {
        place: true,
        memory: 0,
    };

    fn memory(memory: u64) -> Lack {
        Lack {
            place: false,
            memory,
        }
    }

    fn kept(device: bool, stands: Stands, memory: u64) -> Kept {
        Kept {
            id: InstanceId::random(),
            device,
            stands,
            memory,
        }
    }

    #[test]
    fn a_browser_goes_before_a_device_and_what_starts_before_what_stands() {
        let now = Instant::now();
        let starting = |secs| Stands::Starting(Reverse(now + Duration::from_secs(secs)));
        let expected = [
            kept(false, starting(2), 0),
            kept(false, starting(1), 0),
            kept(false, Stands::Parked(1), 0),
            kept(false, Stands::Parked(3), 0),
            kept(true, starting(3), 0),
            kept(true, Stands::Parked(0), 0),
            kept(true, Stands::Parked(2), 0),
        ];
        let mut all: Vec<_> = expected.into_iter().rev().collect();
        for next in expected {
            assert_eq!(choose(all.clone(), PLACE), Some(vec![next.id]));
            all.retain(|one| one.id != next.id);
        }
        assert_eq!(choose(all, PLACE), None, "nothing is kept");
    }

    #[test]
    fn as_much_goes_as_is_needed_and_nothing_where_all_would_not_do() {
        let [small, other] = [300, 400].map(|memory| kept(false, Stands::Parked(0), memory));
        let device = kept(true, Stands::Parked(1), 2_000);
        let all = || vec![small, other, device];
        assert_eq!(choose(all(), Lack::default()), Some(vec![]), "no need");
        assert_eq!(choose(all(), memory(2_701)), None);
        let chosen = choose(all(), memory(2_000)).unwrap();
        assert_eq!(chosen, [device.id], "alone, where the others do not matter");
        let chosen = choose(all(), memory(2_400)).unwrap();
        assert_eq!(chosen, [other.id, device.id]);
        assert_eq!(
            choose(vec![small, device], memory(300)),
            Some(vec![small.id])
        );
    }

    proptest! {
        #[test]
        fn what_goes_is_enough_and_none_of_it_could_stay(
            kept_ones in prop::collection::vec((any::<bool>(), 0..9_usize, 0..9_u64), 0..8),
            place in any::<bool>(), memory in 0..30_u64,
        ) {
            let all: Vec<_> = kept_ones
                .into_iter()
                .map(|(device, at, memory)| kept(device, Stands::Parked(at), memory))
                .collect();
            let sum = |of: &[Kept]| of.iter().map(|one| one.memory).sum::<u64>();
            let does = |of: &[Kept]| of.len() >= usize::from(place) && sum(of) >= memory;
            let chosen = choose(all.clone(), Lack { place, memory });
            prop_assert_eq!(chosen.is_some(), does(&all));
            let Some(chosen) = chosen else { return Ok(()) };
            let gone: Vec<_> = all.into_iter().filter(|one| chosen.contains(&one.id)).collect();
            prop_assert!(does(&gone));
            for at in 0..gone.len() {
                let mut fewer = gone.clone();
                fewer.remove(at);
                prop_assert!(!does(&fewer));
            }
        }
    }
}
