//! What was done to each session and what became of it: the invariants of a campaign, pure.

use std::collections::BTreeMap;

use crate::wire::node::{EndReason, Phase, Session, Traffic};

/// What a session may have come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Done {
    /// Its end was asked for.
    deleted: bool,
    /// Something under it was killed, or may have been cut off.
    hurt: bool,
    /// The agent died while it was made.
    interrupted: bool,
}

/// One session of the campaign.
#[derive(Debug, Clone, Default, PartialEq)]
struct Entry {
    done: Done,
    /// The last count.
    traffic: Traffic,
    /// How it ended, once it has: reason and time never change.
    ended: Option<(EndReason, Option<prost_types::Timestamp>)>,
}

/// Every session of the campaign.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sessions: BTreeMap<String, Entry>,
    /// Sentences about what must not be.
    pub(super) broken: Vec<String>,
}

impl Ledger {
    pub(super) fn ordered(&mut self, id: &str, interrupted: bool) {
        let entry = self.sessions.entry(id.to_owned()).or_default();
        entry.done.interrupted |= interrupted;
    }

    pub(super) fn deleted(&mut self, id: &str) {
        self.sessions.entry(id.to_owned()).or_default().done.deleted = true;
    }

    pub(super) fn hurt(&mut self, id: &str) {
        self.sessions.entry(id.to_owned()).or_default().done.hurt = true;
    }

    /// How many were ordered.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How many ended, by reason.
    pub(super) fn endings(&self) -> BTreeMap<&'static str, usize> {
        let mut endings = BTreeMap::new();
        for (reason, _) in self.sessions.values().filter_map(|one| one.ended.as_ref()) {
            *endings.entry(reason.as_str_name()).or_default() += 1;
        }
        endings
    }

    /// Compares what the node tells of everything with what can be.
    pub(super) fn saw(&mut self, sessions: &[Session]) {
        for session in sessions {
            let Some(entry) = self.sessions.get_mut(&session.id) else {
                continue;
            };
            let mut broken = |what: String| {
                // The first groups of an id are all that is ever printed.
                let short = session.id.get(..23).unwrap_or_default();
                self.broken.push(format!("{short}…: {what}"));
            };
            let traffic = session.traffic.unwrap_or_default();
            if !is_monotone(&entry.traffic, &traffic) {
                broken(format!("bytes went back: {:?} {traffic:?}", entry.traffic));
            }
            entry.traffic = traffic;
            let ended =
                (session.phase() == Phase::Ended).then(|| (session.end_reason(), session.ended_at));
            match (&entry.ended, &ended) {
                (Some(before), Some(now)) if before != now => {
                    broken(format!("ended twice: {before:?}, {now:?}"));
                }
                (Some(before), None) => broken(format!("is back after {before:?}")),
                (None, Some((reason, _))) if !allowed(entry.done, *reason) => {
                    broken(format!("ended {reason:?} after {:?}", entry.done));
                }
                (Some(_), Some(_)) | (None, Some(_) | None) => {}
            }
            entry.ended = entry.ended.or(ended);
        }
    }

    /// After the last: everything has ended.
    pub(super) fn close(&mut self) {
        let open = self.sessions.iter().filter(|(_, one)| one.ended.is_none());
        // One whose order died with the agent before it was journalled never was.
        let open = open.filter(|(_, one)| !one.done.interrupted).count();
        if open > 0 {
            self.broken.push(format!("{open} sessions never ended"));
        }
    }
}

const fn is_monotone(before: &Traffic, now: &Traffic) -> bool {
    before.up <= now.up && before.down <= now.down
}

/// Whether a session to which so much was done may have ended this way.
fn allowed(done: Done, reason: EndReason) -> bool {
    match reason {
        EndReason::ClientDelete => done.deleted,
        EndReason::SubstrateDown => done.hurt,
        EndReason::Error => done.interrupted || done.hurt,
        EndReason::Unspecified
        | EndReason::TtlExpired
        | EndReason::IdleExpired
        | EndReason::AbandonedOrphan => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str, down: u64, reason: Option<EndReason>) -> Session {
        let mut session = Session {
            id: id.to_owned(),
            traffic: Some(Traffic {
                down,
                ..Traffic::default()
            }),
            ..Session::default()
        };
        session.set_phase(reason.map_or(Phase::Ready, |_| Phase::Ended));
        session.set_end_reason(reason.unwrap_or_default());
        session
    }

    fn verdicts(hurt: bool, seen: &[Session]) -> usize {
        let mut ledger = Ledger::default();
        ledger.ordered("a", false);
        if hurt {
            ledger.hurt("a");
        }
        for one in seen {
            ledger.saw(std::slice::from_ref(one));
        }
        ledger.broken.len()
    }

    #[test]
    fn a_session_ends_once_for_a_reason_that_was_given_and_its_bytes_only_grow() {
        use EndReason::{ClientDelete, SubstrateDown};
        let live = |down| session("a", down, None);
        let over = |reason| session("a", 9, Some(reason));
        assert_eq!(verdicts(false, &[live(1), live(9)]), 0);
        assert_eq!(verdicts(false, &[live(9), live(1)]), 1);
        assert_eq!(verdicts(true, &[live(1), over(SubstrateDown)]), 0);
        assert_eq!(verdicts(false, &[live(1), over(SubstrateDown)]), 1);
        assert_eq!(
            verdicts(true, &[over(SubstrateDown), over(ClientDelete)]),
            1
        );
        assert_eq!(verdicts(true, &[over(SubstrateDown), live(9)]), 1);
    }

    #[test]
    fn what_never_ended_is_told_at_the_close() {
        let mut ledger = Ledger::default();
        ledger.ordered("a", false);
        ledger.ordered("b", true);
        ledger.close();
        assert_eq!(ledger.broken, ["1 sessions never ended"]);
    }
}
