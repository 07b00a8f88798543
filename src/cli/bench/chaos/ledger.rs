//! What was done to each session and what became of it: the invariants of a campaign, pure.
//!
//! Every order comes to exactly one of two: a session that ended once, for a reason that was given, or
//! nothing at all, where the node said no or died before it could take it. What was known once is known
//! for good, and its end is told once.

use std::collections::{BTreeMap, HashMap};

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

/// How the node answered an order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not at all: it may be a session, or nothing.
    #[default]
    None,
    /// It was taken.
    Taken,
    /// It was refused.
    Refused,
}

/// One order of the campaign.
#[derive(Debug, Clone, Default, PartialEq)]
struct Entry {
    done: Done,
    answer: Answer,
    /// Whether the node ever listed it.
    seen: bool,
    /// The last count.
    traffic: Traffic,
    /// How it ended, once it has: reason and time never change.
    ended: Option<(EndReason, Option<prost_types::Timestamp>)>,
    /// Numbers of the events that told its end, and the reason each gave.
    told: BTreeMap<u64, EndReason>,
    /// The agent was killed when it had ended, or ended right then: its event may have died too.
    unheard: bool,
}

/// Every order of the campaign.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sessions: BTreeMap<String, Entry>,
    /// Sentences about what must not be.
    pub(super) broken: Vec<String>,
}

/// What all orders came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) orders: usize,
    /// Sessions, by the reason that ended them.
    pub(super) ended: BTreeMap<&'static str, usize>,
    pub(super) refused: usize,
    /// Orders that died with the agent before it had taken them.
    pub(super) untaken: usize,
    /// Ends of which the event died with the agent.
    pub(super) unheard: usize,
}

impl Entry {
    /// Whether there was a session of it.
    const fn is_session(&self) -> bool {
        self.seen || matches!(self.answer, Answer::Taken)
    }
}

impl Ledger {
    /// It is about to be ordered; `interrupted` if the agent is going to be killed meanwhile.
    pub(super) fn ordered(&mut self, id: &str, interrupted: bool) {
        let entry = self.sessions.entry(id.to_owned()).or_default();
        entry.done.interrupted |= interrupted;
    }

    pub(super) fn answered(&mut self, id: &str, answer: Answer) {
        self.sessions.entry(id.to_owned()).or_default().answer = answer;
    }

    pub(super) fn deleted(&mut self, id: &str) {
        self.sessions.entry(id.to_owned()).or_default().done.deleted = true;
    }

    pub(super) fn hurt(&mut self, id: &str) {
        self.sessions.entry(id.to_owned()).or_default().done.hurt = true;
    }

    /// Something happened to the host that may take any session.
    pub(super) fn hurt_all(&mut self) {
        for entry in self.sessions.values_mut() {
            entry.done.hurt |= entry.ended.is_none();
        }
    }

    /// The agent is about to be killed.
    pub(super) fn killed(&mut self) {
        for entry in self.sessions.values_mut() {
            entry.unheard |= entry.told.is_empty();
        }
    }

    /// An event said what a session is now.
    pub(super) fn heard(&mut self, seq: u64, session: &Session) {
        if session.phase() != Phase::Ended {
            return;
        }
        let Some(entry) = self.sessions.get_mut(&session.id) else {
            return;
        };
        entry.told.insert(seq, session.end_reason());
        if entry.told.len() > 1 {
            let told = format!("its end was told more than once: {:?}", entry.told);
            self.breaks(&session.id, &told);
        }
    }

    /// Compares everything that the node lists with what can be.
    pub(super) fn saw(&mut self, sessions: &[Session]) {
        let listed: HashMap<_, _> = sessions.iter().map(|one| (&*one.id, one)).collect();
        let mut broken = Vec::new();
        for (id, entry) in &mut self.sessions {
            match listed.get(&**id) {
                Some(session) => {
                    let found = entry.compare(session);
                    broken.extend(found.into_iter().map(|what| (id.clone(), what)));
                }
                None if entry.is_session() => {
                    broken.push((id.clone(), "is not known any more".to_owned()));
                }
                None => {}
            }
        }
        for (id, what) in broken {
            self.breaks(&id, &what);
        }
    }

    fn breaks(&mut self, id: &str, what: &str) {
        // The first groups of an id are all that is ever printed.
        let short = id.get(..23).unwrap_or_default();
        self.broken.push(format!("{short}…: {what}"));
    }

    /// How many ended without that an event was heard although it should have been.
    pub(super) fn awaited(&self) -> usize {
        let awaited = |one: &&Entry| one.ended.is_some() && one.told.is_empty() && !one.unheard;
        self.sessions.values().filter(awaited).count()
    }

    /// After the last: everything has ended, was told, and adds up.
    pub(super) fn close(&mut self) -> Tally {
        let mut tally = Tally::default();
        let mut broken = Vec::new();
        for (id, entry) in &self.sessions {
            tally.orders += 1;
            match &entry.ended {
                Some((reason, _)) => *tally.ended.entry(reason.as_str_name()).or_default() += 1,
                None if entry.is_session() => broken.push((id.clone(), "never ended".to_owned())),
                None if entry.answer == Answer::Refused => tally.refused += 1,
                None => tally.untaken += 1,
            }
            match (&entry.ended, entry.told.values().next()) {
                (Some(_), None) if entry.unheard => tally.unheard += 1,
                (Some(_), None) => broken.push((id.clone(), "its end was never told".to_owned())),
                (Some((reason, _)), Some(told)) if reason != told => {
                    broken.push((id.clone(), format!("ended {reason:?}, told as {told:?}")));
                }
                (Some(_), Some(_)) | (None, None) => {}
                (None, Some(told)) => broken.push((id.clone(), format!("told as {told:?}, lives"))),
            }
        }
        for (id, what) in broken {
            self.breaks(&id, &what);
        }
        tally
    }
}

impl Entry {
    /// Takes note of what the node says of it; what of that must not be.
    fn compare(&mut self, session: &Session) -> Vec<String> {
        let mut broken = Vec::new();
        if self.answer == Answer::Refused && !self.seen {
            broken.push("was refused and is there".to_owned());
        }
        self.seen = true;
        let traffic = session.traffic.unwrap_or_default();
        if !is_monotone(&self.traffic, &traffic) {
            broken.push(format!("bytes went back: {:?} {traffic:?}", self.traffic));
        }
        self.traffic = traffic;
        let ended =
            (session.phase() == Phase::Ended).then(|| (session.end_reason(), session.ended_at));
        match (&self.ended, &ended) {
            (Some(before), Some(now)) if before != now => {
                broken.push(format!("ended twice: {before:?}, {now:?}"));
            }
            (Some(before), None) => broken.push(format!("is back after {before:?}")),
            (None, Some((reason, _))) if !allowed(self.done, *reason) => {
                let why = session.failure.as_ref().map(|failure| &*failure.message);
                let why = why.unwrap_or("nothing is known of why");
                broken.push(format!("ended {reason:?} after {:?}: {why}", self.done));
            }
            // Whoever still lives has its event before it.
            (None, None) => self.unheard = false,
            (Some(_), Some(_)) | (None, Some(_)) => {}
        }
        self.ended = self.ended.or(ended);
        broken
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
        | EndReason::AbandonedOrphan
        | EndReason::QuotaExceeded => false,
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
