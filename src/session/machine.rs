//! The session state machine: a pure function, no I/O, no clock.
//!
//! ```text
//!           Provisioned             End(asked)             Cut(won)
//! Creating ─────────────▶ Ready ─────────────▶ Closing ───────────▶ Ended(won)
//!    │  └────────────────────────── Cut(won) ──────────────────────────▲  ▲
//!    └──────────────── End(asked) / Failed ───────▲                       │
//!                                  Ready ───────────── Cut(won) ──────────┘
//! ```
//!
//! `Closing` remembers what was asked for, `Ended` what won: from `Bind` on the relay is the arbiter,
//! and its answer may name an end that came first. A cut may come unasked: the relay's clocks and its
//! sight of a dead instance end sessions too.

use super::Denied;
use crate::model::{EndReason, Phase};

/// The machine's whole memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// An instance is being made for it.
    Creating,
    /// Serving.
    Ready,
    /// An end was asked for; which one wins is not known yet.
    Closing(EndReason),
    /// Traffic is cut, the reason and the bytes are final.
    Ended(EndReason),
}

/// A fact that happened outside the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Bound to an instance that is a phone.
    Provisioned,
    /// No instance could be made.
    Failed,
    /// Someone wants the session gone.
    End(EndReason),
    /// Traffic is cut; this reason won.
    Cut(EndReason),
}

/// What the driver must do, in this order, before it looks at the next input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Make the new state durable.
    Journal,
    /// Ask the arbiter for the end (or decide it, where there is no arbiter).
    AskArbiter,
    /// Tell the watchers.
    Publish,
    /// Let the instance go.
    Release,
}

/// The outcome of feeding an input to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The state changed; perform the effects in order.
    Moved(State, &'static [Effect]),
    /// Nothing to do: an idempotent repeat, or a fact that came too late to matter.
    Satisfied,
}

impl State {
    /// The phase that clients see.
    #[must_use]
    pub const fn phase(self) -> Phase {
        match self {
            Self::Creating => Phase::Creating,
            Self::Ready => Phase::Ready,
            Self::Closing(_) => Phase::Closing,
            Self::Ended(_) => Phase::Ended,
        }
    }

    /// Decides what `input` means in this state.
    ///
    /// # Errors
    /// [`Denied`] when the input cannot be true in this state.
    pub const fn step(self, input: Input) -> Result<Step, Denied> {
        use Effect::{AskArbiter, Journal, Publish, Release};
        const CLOSE: &[Effect] = &[Journal, Publish, AskArbiter];
        const END: &[Effect] = &[Journal, Publish, Release];

        match (self, input) {
            (Self::Creating, Input::Provisioned) => {
                Ok(Step::Moved(Self::Ready, &[Journal, Publish]))
            }
            (Self::Creating, Input::Failed) => {
                Ok(Step::Moved(Self::Closing(EndReason::Error), CLOSE))
            }
            (Self::Creating | Self::Ready, Input::End(asked)) => {
                Ok(Step::Moved(Self::Closing(asked), CLOSE))
            }
            (Self::Creating | Self::Ready | Self::Closing(_), Input::Cut(won)) => {
                Ok(Step::Moved(Self::Ended(won), END))
            }
            // Late news of an attempt that nobody waits for, and repeats.
            (Self::Closing(_), Input::Provisioned | Input::Failed | Input::End(_))
            | (
                Self::Ended(_),
                Input::End(_) | Input::Cut(_) | Input::Provisioned | Input::Failed,
            )
            | (Self::Ready, Input::Provisioned) => Ok(Step::Satisfied),
            (Self::Ready, Input::Failed) => Err(Denied::WrongPhase {
                input: "failed",
                phase: Phase::Ready,
            }),
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
