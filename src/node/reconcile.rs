//! What to do with what is found at start: one pure table over journal, container and relay.
//!
//! | journal | container | relay | then |
//! |---|---|---|---|
//! | not ended | any | has an ending | take its reason, time and bytes |
//! | creating | any | any | fail, destroy |
//! | ready | gone | any | `substrate_down` (what the last sample says) |
//! | ready | running | holds it | adopt, touch nothing |
//! | ready, past its deadline | running | lost it | `ttl_expired` at its deadline |
//! | ready | running | lost it | attach and bind again |
//! | closing | gone or running | holds it | ask for the end again |
//! | closing | any | lost it | destroy first (that cuts), then ended as asked |
//! | ended | any | any | destroy what is left |

use crate::model::{EndReason, Ending};

/// Where the journal says that a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journalled {
    /// Never got ready.
    Creating,
    /// Was served.
    Ready {
        /// Its deadline has passed, or belongs to another boot.
        past_deadline: bool,
    },
    /// An end had been asked for.
    Closing(EndReason),
    /// Over.
    Ended,
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
}

/// What to do with a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Watch it again; nothing is touched.
    Adopt,
    /// Attach and bind again.
    Reattach,
    /// It ended as the relay says.
    TakeEnding(Ending),
    /// Ask the relay for the end that was asked for.
    AskAgain(EndReason),
    /// Destroy, then it has ended like this.
    EndAs(EndReason),
    /// Nothing of the session; only what is left of its instance goes.
    DestroyOnly,
}

/// Decides.
#[must_use]
pub fn decide(journalled: Journalled, container_runs: bool, relay: AtRelay) -> Verdict {
    match (journalled, relay) {
        (Journalled::Ended, _) => Verdict::DestroyOnly,
        (_, AtRelay::Ended(ending)) => Verdict::TakeEnding(ending),
        (Journalled::Creating, _) => Verdict::EndAs(EndReason::Error),
        (
            Journalled::Ready {
                past_deadline: true,
            },
            AtRelay::Lost,
        ) if container_runs => Verdict::EndAs(EndReason::TtlExpired),
        (Journalled::Ready { .. }, _) if !container_runs => {
            Verdict::EndAs(EndReason::SubstrateDown)
        }
        (Journalled::Ready { .. }, AtRelay::Holds) => Verdict::Adopt,
        (Journalled::Ready { .. }, AtRelay::Lost) => Verdict::Reattach,
        (Journalled::Closing(asked), AtRelay::Holds) => Verdict::AskAgain(asked),
        (Journalled::Closing(asked), AtRelay::Lost) => Verdict::EndAs(asked),
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::model::Traffic;

    const READY: Journalled = Journalled::Ready {
        past_deadline: false,
    };
    const LATE: Journalled = Journalled::Ready {
        past_deadline: true,
    };

    fn ending() -> Ending {
        Ending {
            reason: EndReason::IdleExpired,
            at: OffsetDateTime::UNIX_EPOCH,
            traffic: Traffic::default(),
            detail: None,
        }
    }

    #[test]
    fn what_the_relay_saw_end_has_ended_that_way() {
        for journalled in [
            Journalled::Creating,
            READY,
            LATE,
            Journalled::Closing(EndReason::ClientDelete),
        ] {
            for runs in [true, false] {
                let verdict = decide(journalled, runs, AtRelay::Ended(ending()));
                assert_eq!(verdict, Verdict::TakeEnding(ending()));
            }
        }
    }

    #[test]
    fn the_table_holds() {
        use EndReason::{ClientDelete, Error, SubstrateDown, TtlExpired};
        let closing = Journalled::Closing(ClientDelete);
        for (journalled, runs, relay, verdict) in [
            (READY, true, AtRelay::Holds, Verdict::Adopt),
            (LATE, true, AtRelay::Holds, Verdict::Adopt),
            (READY, true, AtRelay::Lost, Verdict::Reattach),
            (LATE, true, AtRelay::Lost, Verdict::EndAs(TtlExpired)),
            (READY, false, AtRelay::Holds, Verdict::EndAs(SubstrateDown)),
            (LATE, false, AtRelay::Lost, Verdict::EndAs(SubstrateDown)),
            (
                Journalled::Creating,
                true,
                AtRelay::Lost,
                Verdict::EndAs(Error),
            ),
            (
                Journalled::Creating,
                false,
                AtRelay::Holds,
                Verdict::EndAs(Error),
            ),
            (
                closing,
                true,
                AtRelay::Holds,
                Verdict::AskAgain(ClientDelete),
            ),
            (closing, true, AtRelay::Lost, Verdict::EndAs(ClientDelete)),
            (closing, false, AtRelay::Lost, Verdict::EndAs(ClientDelete)),
            (
                Journalled::Ended,
                true,
                AtRelay::Holds,
                Verdict::DestroyOnly,
            ),
        ] {
            assert_eq!(
                decide(journalled, runs, relay.clone()),
                verdict,
                "{journalled:?} {runs} {relay:?}"
            );
        }
    }
}
