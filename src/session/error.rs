//! Refusals of the session layer.

use crate::model::Phase;

/// A fact that the session's present phase rules out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The input only makes sense in another phase.
    #[error("`{input}` is not possible while the session is {phase}")]
    WrongPhase {
        /// Name of the refused input.
        input: &'static str,
        /// Phase the session is in.
        phase: Phase,
    },
}
