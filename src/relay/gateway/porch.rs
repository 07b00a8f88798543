//! How many connections of one session wait to be let in, or ask for something, at once.
//!
//! A connection that waits costs a descriptor and a task although nobody is served by it, and all
//! sessions share the listener's places: without a bound one session that is being made, or attached
//! again, could take them all.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use crate::model::SessionId;

/// The connections of every session that are neither served nor refused yet.
#[derive(Debug, Default)]
pub(super) struct Porch {
    /// Held to count, never across a wait; a session without any has no entry.
    waiting: Mutex<HashMap<SessionId, u32>>,
}

/// One connection; dropping it makes room for the next.
#[derive(Debug)]
pub(super) struct Visitor {
    porch: Arc<Porch>,
    session: SessionId,
}

impl Porch {
    /// One more of `session`, unless `limit` are there already.
    pub(super) fn enter(self: &Arc<Self>, session: &SessionId, limit: u32) -> Option<Visitor> {
        let mut waiting = self.waiting.lock();
        let of_it = waiting.get(session).copied().unwrap_or_default();
        if of_it >= limit {
            return None;
        }
        waiting.insert(session.clone(), of_it + 1);
        Some(Visitor {
            porch: Arc::clone(self),
            session: session.clone(),
        })
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let mut waiting = self.porch.waiting.lock();
        if let Some(of_it) = waiting.get_mut(&self.session) {
            *of_it -= 1;
            if *of_it == 0 {
                waiting.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_has_its_own_room_and_leaves_nothing_behind() {
        let porch = Arc::new(Porch::default());
        let (one, other) = (SessionId::random(), SessionId::random());
        let first = porch.enter(&one, 2).unwrap();
        let second = porch.enter(&one, 2).unwrap();
        assert!(porch.enter(&one, 2).is_none());
        assert!(porch.enter(&other, 2).is_some(), "another has its own");
        drop(first);
        let third = porch.enter(&one, 2).unwrap();
        drop((second, third));
        assert!(porch.waiting.lock().is_empty());
    }
}
