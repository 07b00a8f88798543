//! Which instance has which of the host's binders. A kernel without binderfs has as many as its module was
//! told to make, and an instance takes three.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::model::InstanceId;

/// The binders that are given away.
#[derive(Debug, Default)]
pub struct Binders {
    /// Held to look or to change, never across a wait.
    given: Mutex<HashMap<InstanceId, [String; 3]>>,
}

impl Binders {
    /// Three that nobody has, out of `all`; those that `id` has already, where it has some.
    pub fn give(&self, id: InstanceId, all: Vec<[String; 3]>) -> Option<[String; 3]> {
        let mut given = self.given.lock();
        if let Some(three) = given.get(&id) {
            return Some(three.clone());
        }
        let free = all
            .into_iter()
            .find(|three| !given.values().any(|taken| taken == three))?;
        given.insert(id, free.clone());
        Some(free)
    }

    /// `id` has had these since before this agent.
    pub fn keep(&self, id: InstanceId, three: [String; 3]) {
        self.given.lock().insert(id, three);
    }

    /// `id` is gone.
    pub fn take_back(&self, id: InstanceId) {
        self.given.lock().remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_instances_have_the_same_and_what_is_gone_gives_back() {
        let three = |n: u32| [n, n + 1, n + 2].map(|n| format!("/dev/binder{n}"));
        let all = || vec![three(1), three(4)];
        let (binders, ids) = (Binders::default(), [(); 3].map(|()| InstanceId::random()));
        binders.keep(ids[0], three(1));
        assert_eq!(binders.give(ids[1], all()), Some(three(4)));
        assert_eq!(binders.give(ids[1], all()), Some(three(4)), "its own again");
        assert_eq!(binders.give(ids[2], all()), None);
        binders.take_back(ids[0]);
        assert_eq!(binders.give(ids[2], all()), Some(three(1)));
    }
}
