//! The session's state machine: a pure function, no I/O, no clock.
//!
//! ```text
//!            Provisioned             End(asked)            Cut(won)
//! Creating ─────────────▶ Ready ─────────────▶ Closing ─────────────▶ Ended(won)
//!     │                     └──────────────── Cut(won) ─────────────────▲
//!     └──────────── End(asked) / Failed ──────────▲
//! ```
//!
//! What is *asked* and what *won* differ: from `Bind` on the relay decides which end came first, so
//! a delete that meets an expired ttl ends `ttl_expired`. The first that was asked is what the agent
//! sends; the first that won is what everybody is told, and neither ever changes.

use crate::model::{EndReason, Phase};

/// The machine's whole memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// An instance is being made for it.
    Creating,
    /// Serving.
    Ready,
    /// An end was asked for; the arbiter has not answered.
    Closing(EndReason),
    /// Traffic is cut, the bytes are final.
    Ended(EndReason),
}

/// A fact that happened outside the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// An instance was made and bound.
    Provisioned,
    /// No instance could be made.
    Failed,
    /// Someone or something wants it to end.
    End(EndReason),
    /// The arbiter says that it is over, and why.
    Cut(EndReason),
}

/// What the driver must do, in this order, before it looks at the next input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Make the new state durable.
    Journal,
    /// Tell the watchers.
    Publish,
    /// Ask the arbiter to end it.
    AskEnd,
    /// Give back the address and let the instance go.
    Release,
}

/// The outcome of feeding an input to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The state changed; perform the effects in order.
    Moved(State, &'static [Effect]),
    /// It was so already (idempotent repeat, or too late to matter).
    Satisfied,
}

/// An input that the present state forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is provisioned once.
    #[error("the session was provisioned before")]
    AlreadyReady,
    /// What fails after `Ready` is an end, not a failure to provide.
    #[error("a ready session cannot fail to be provisioned")]
    NotCreating,
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
        use Effect::{AskEnd, Journal, Publish, Release};
        const CLOSE: &[Effect] = &[Journal, Publish, AskEnd];

        match (self, input) {
            (Self::Creating, Input::Provisioned) => {
                Ok(Step::Moved(Self::Ready, &[Journal, Publish]))
            }
            (Self::Creating, Input::Failed) => {
                Ok(Step::Moved(Self::Closing(EndReason::Error), CLOSE))
            }
            (Self::Creating | Self::Ready, Input::End(reason)) => {
                Ok(Step::Moved(Self::Closing(reason), CLOSE))
            }
            (Self::Creating | Self::Ready | Self::Closing(_), Input::Cut(won)) => {
                Ok(Step::Moved(Self::Ended(won), &[Journal, Publish, Release]))
            }
            // Repeats, and the late result of a provisioning that was called off.
            (Self::Closing(_), Input::Provisioned | Input::Failed | Input::End(_))
            | (Self::Ended(_), _) => Ok(Step::Satisfied),
            (Self::Ready, Input::Provisioned) => Err(Denied::AlreadyReady),
            (Self::Ready, Input::Failed) => Err(Denied::NotCreating),
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
