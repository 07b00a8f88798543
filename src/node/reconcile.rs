//! What to do with what is found at start: one pure table over journal, container and relay.
//!
//! The first line that fits is the one. *Gone* is missing, exited, dead, created or being removed; a
//! paused container runs, and is woken where it is kept.
//!
//! | journal | container | relay | then |
//! |---|---|---|---|
//! | ended | any | any | destroy what is left |
//! | not ended | any | has an ending | take its reason, time and bytes |
//! | creating | any | any | `error`, destroy |
//! | ready, of another boot | any | any | `substrate_down`, at the end of that boot, with the last sample |
//! | ready | gone | any | `substrate_down` |
//! | ready | runs | holds it | adopt, touch nothing |
//! | ready, past its deadline | runs | lost it, or is away | `ttl_expired` at the deadline, destroy |
//! | ready | runs | lost it | attach and bind again; where that fails, `substrate_down` |
//! | ready | runs | is away | keep: the next relay is given it |
//! | closing | any | holds it | ask for the end again |
//! | closing | any | lost it, or is away | destroy first (that cuts), then ended as asked |
//!
//! A closing session whose container is gone ends as asked too: killing the container is how the agent
//! cuts without a relay, so its going is the end that was asked for and no accident.
//!
//! What was parked and is nobody's is the pool's to judge: adopted where it is as good as new, else
//! destroyed.

use crate::model::{EndReason, Ending};

/// Where the journal says that a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journalled {
    /// Never got ready.
    Creating,
    /// Was served.
    Ready(Deadline),
    /// An end had been asked for.
    Closing(EndReason),
    /// Over.
    Ended,
}

/// How a session's deadline stands to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// Still to come.
    Ahead,
    /// Over.
    Passed,
    /// Of another boot: whatever ran then runs no more.
    OtherBoot,
}

/// What Docker says of a session's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtDocker {
    /// Missing, or not running.
    Gone,
    /// It runs.
    Runs,
    /// It runs, and somebody froze it.
    Paused,
}

/// What the relay knows of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtRelay {
    /// How it ended.
    Ended(Ending),
    /// It serves it.
    Holds,
    /// Nothing (any more).
    Lost,
    /// It cannot be asked.
    Away,
}

/// When a session ended that nobody saw end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It ends now.
    Now,
    /// When its ttl ran out.
    Deadline,
    /// When the boot ended in which it lived.
    LastBoot,
}

/// What to do with a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Watch it again; nothing is touched.
    Adopt,
    /// Watch it again; a relay that comes is given it.
    Keep,
    /// Attach and bind again.
    Reattach,
    /// It ended as the relay says.
    TakeEnding(Ending),
    /// Ask the relay for the end that was asked for.
    AskAgain(EndReason),
    /// Destroy, then it has ended like this.
    EndAs(EndReason, When),
    /// Nothing of the session; only what is left of its instance goes.
    DestroyOnly,
}

/// Decides.
#[must_use]
pub fn decide(journalled: Journalled, container: AtDocker, relay: AtRelay) -> Verdict {
    use EndReason::{Error, SubstrateDown, TtlExpired};
    match (journalled, container, relay) {
        (Journalled::Ended, _, _) => Verdict::DestroyOnly,
        (_, _, AtRelay::Ended(ending)) => Verdict::TakeEnding(ending),
        (Journalled::Creating, _, _) => Verdict::EndAs(Error, When::Now),
        (Journalled::Ready(Deadline::OtherBoot), _, _) => {
            Verdict::EndAs(SubstrateDown, When::LastBoot)
        }
        (Journalled::Ready(_), AtDocker::Gone, _) => Verdict::EndAs(SubstrateDown, When::Now),
        (Journalled::Ready(_), _, AtRelay::Holds) => Verdict::Adopt,
        (Journalled::Ready(Deadline::Passed), _, _) => Verdict::EndAs(TtlExpired, When::Deadline),
        (Journalled::Ready(Deadline::Ahead), _, AtRelay::Lost) => Verdict::Reattach,
        (Journalled::Ready(Deadline::Ahead), _, AtRelay::Away) => Verdict::Keep,
        (Journalled::Closing(asked), _, AtRelay::Holds) => Verdict::AskAgain(asked),
        (Journalled::Closing(asked), _, AtRelay::Lost | AtRelay::Away) => {
            Verdict::EndAs(asked, When::Now)
        }
    }
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
