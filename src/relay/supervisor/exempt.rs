//! What clients emulate themselves, on which targets.
//!
//! Chrome lets the last command win, and of identities the connection that attached last. So while a
//! client has, say, a viewport of its own on a page, the profile's is not sent to that page: neither
//! by a connection that is opened again nor because some other client has left.
//!
//! Two clients may emulate the same thing on one page. When one of them goes, Chrome falls back to
//! nothing for both, so the exemption ends with the first that goes, and the phone is back.

use std::{collections::HashSet, sync::Arc};

use parking_lot::Mutex;

/// Targets and methods from which the profile keeps off.
#[derive(Debug, Default)]
pub(in crate::relay) struct Exempt(Mutex<HashSet<(String, &'static str)>>);

/// Keeps the profile off one thing on one target until it is dropped.
#[derive(Debug)]
pub struct Exemption {
    exempt: Arc<Exempt>,
    what: (String, &'static str),
}

impl Exempt {
    pub(super) fn enter(exempt: &Arc<Self>, target: &str, method: &'static str) -> Exemption {
        let what = (target.to_owned(), method);
        exempt.0.lock().insert(what.clone());
        Exemption {
            exempt: Arc::clone(exempt),
            what,
        }
    }

    /// Whether the profile keeps off.
    pub(super) fn covers(&self, target: &str, method: &'static str) -> bool {
        let all = self.0.lock();
        // Nearly always, and cheap then.
        !all.is_empty() && all.contains(&(target.to_owned(), method))
    }
}

impl Drop for Exemption {
    fn drop(&mut self) {
        self.exempt.0.lock().remove(&self.what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_goes_ends_it() {
        let exempt = Arc::new(Exempt::default());
        let one = Exempt::enter(&exempt, "T", "A.b");
        let two = Exempt::enter(&exempt, "T", "A.b");
        assert!(exempt.covers("T", "A.b"));
        assert!(!exempt.covers("T", "A.c") && !exempt.covers("U", "A.b"));
        drop(one);
        assert!(!exempt.covers("T", "A.b"));
        drop(two);
        assert!(!exempt.covers("T", "A.b"));
    }
}
