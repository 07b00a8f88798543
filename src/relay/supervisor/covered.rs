//! Which targets carry the overrides by now, for whoever lets clients at them.
//!
//! A client that makes a page hears of it in the same moment as the supervisor, and asks it before the
//! supervisor's commands are through: it would see what Chrome is without them. So news of a target waits
//! for its cover. Two connections cover each target; one of them is enough.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::watch;

/// Targets by their id, and by how many connections each is covered.
#[derive(Debug, Default)]
pub(super) struct Covered(watch::Sender<HashMap<String, u8>>);

/// One connection's cover of one target, until it is dropped.
#[derive(Debug)]
pub(super) struct Cover {
    covered: Arc<Covered>,
    target: String,
}

impl Covered {
    pub(super) fn enter(covered: &Arc<Self>, target: &str) -> Cover {
        covered.0.send_modify(|all| {
            *all.entry(target.to_owned()).or_default() += 1;
        });
        Cover {
            covered: Arc::clone(covered),
            target: target.to_owned(),
        }
    }

    /// Returns once `target` is covered; the caller bounds the time. Cancel-safe.
    pub(super) async fn covers(&self, target: &str) {
        // Its sender is in `self`: waiting ends with what is waited for.
        drop(
            (self.0.subscribe())
                .wait_for(|all| all.contains_key(target))
                .await,
        );
    }
}

impl Drop for Cover {
    fn drop(&mut self) {
        // Nobody waits for less.
        self.covered.0.send_if_modified(|all| {
            if let Some(by) = all.get_mut(&self.target) {
                *by -= 1;
                if *by == 0 {
                    all.remove(&self.target);
                }
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_target_is_covered_as_long_as_one_connection_covers_it() {
        let covered = Arc::new(Covered::default());
        let covers = |target| covered.covers(target).now_or_never().is_some();
        let one = Covered::enter(&covered, "T");
        let two = Covered::enter(&covered, "T");
        assert!(covers("T") && !covers("U"));
        drop(one);
        assert!(covers("T"));
        drop(two);
        assert!(!covers("T"));
        assert!(covered.0.borrow().is_empty(), "nothing is kept of it");
    }
}
