//! How many more devices the host bears: each takes all that its guest is given, used or not.

use std::collections::HashMap;

use super::Pool;
use crate::{
    model::Substrate,
    node::{Node, SubstrateStatus},
};

/// What there is for one kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    /// Devices that may be there at once, beside those of sessions.
    places: usize,
    /// Guests that the memory which is available now suffices for.
    guests: usize,
}

impl Fit {
    /// For a kind that has so many places, of which sessions have some, and so much memory available, of
    /// which its guest takes some; what is being removed may still hold a place.
    fn of(
        (capacity, live, destroying): (u32, usize, usize),
        (spare, needed): (Option<u64>, u64),
    ) -> Self {
        let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
        let guests = spare.map_or(u64::MAX, |spare| spare / needed.max(1));
        Self {
            places: capacity.saturating_sub(live).saturating_sub(destroying),
            guests: usize::try_from(guests).unwrap_or(usize::MAX),
        }
    }

    /// How many more may be started where so many are there: those that boot have not taken all of their
    /// memory yet, and one boots at a time.
    pub(super) fn more(self, depth: usize) -> usize {
        self.places.saturating_sub(depth).min(self.guests)
    }

    const NONE: Self = Self {
        places: 0,
        guests: 0,
    };
}

/// For each kind that is kept; nothing while a device is being made for somebody.
pub(super) fn devices(node: &Node, pool: &Pool) -> HashMap<Substrate, Fit> {
    let kept: Vec<_> = (pool.inner.kept.iter())
        .filter(|kept| kept.kind.is_device())
        .map(|kept| kept.kind.substrate)
        .collect();
    if kept.is_empty() {
        return HashMap::new();
    }
    let busy = node.makes(|substrate| substrate != Substrate::Chromium);
    let spare = node.guard().spare_memory();
    let fit = |one: SubstrateStatus| {
        let settled = node.instances().tools().devices.settled(one.substrate)?;
        let destroying = node.destroying_on(one.substrate);
        let places = (one.capacity, node.live_on(one.substrate), destroying);
        Some((
            one.substrate,
            if busy {
                Fit::NONE
            } else {
                Fit::of(places, (spare, settled.memory_bytes))
            },
        ))
    };
    let all = node.substrates().into_iter();
    all.filter(|one| kept.contains(&one.substrate))
        .filter_map(fit)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_sessions_and_of_what_is_removed_are_taken_and_guests_need_all_their_memory() {
        let fit = |places, memory| Fit::of(places, memory);
        assert_eq!(fit((4, 1, 0), (None, 6)).more(0), 3);
        assert_eq!(fit((4, 1, 1), (None, 6)).more(1), 1);
        assert_eq!(fit((2, 1, 1), (None, 6)).more(0), 0);
        assert_eq!(fit((2, 5, 0), (None, 6)).more(0), 0);
        assert_eq!(fit((4, 0, 0), (Some(13), 6)).more(0), 2);
        assert_eq!(fit((4, 0, 0), (Some(13), 6)).more(3), 1);
        assert_eq!(fit((4, 0, 0), (Some(5), 6)).more(0), 0);
        assert_eq!(Fit::NONE.more(0), 0);
    }
}
