//! The instance's state machine: a pure function, no I/O, no clock.
//!
//! ```text
//!           Attached        Bind, Claimed
//! Starting ──────────▶ Parked ────────────▶ Bound
//!    └───────────────────┴───── Destroy ──────┴──▶ Destroying ── Removed ──▶ Gone
//! ```
//!
//! An instance is bound once in its life; there is no way back from anywhere. `Bind` is of the session
//! that it was made for; `Claimed` of one that came later, whose own journal row took it.

use crate::model::InstancePhase;

/// A fact that happened outside the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Every step of the start succeeded: it is a phone.
    Attached,
    /// The session that it was made for takes it.
    Bind,
    /// A session has taken it, and the journal knows.
    Claimed,
    /// It failed, or nobody needs it any more.
    Destroy,
    /// Nothing of it is left on the host.
    Removed,
}

/// What the driver must do, in this order, before it looks at the next input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Make the new state durable.
    Journal,
    /// Give it to the session at the relay.
    Bind,
    /// Tell whoever watches.
    Publish,
    /// Begin to take everything back.
    Destroy,
    /// Forget it: the journal's row goes.
    Forget,
}

/// The outcome of feeding an input to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The state changed; perform the effects in order.
    Moved(InstancePhase, &'static [Effect]),
    /// It was so already.
    Satisfied,
}

/// An input that the present state forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is not a phone yet.
    #[error("the instance is still starting")]
    NotReady,
    /// One instance serves one session, ever.
    #[error("the instance serves a session already")]
    Taken,
    /// It is being removed.
    #[error("the instance is being removed")]
    Leaving,
    /// It was not being removed.
    #[error("the instance is gone although nobody removed it")]
    NotLeaving,
}

/// Decides what `input` means to an instance in `phase`.
///
/// # Errors
/// [`Denied`] when the input cannot be true, or is not possible, in this phase.
pub const fn step(phase: InstancePhase, input: Input) -> Result<Step, Denied> {
    use InstancePhase::{Bound, Destroying, Gone, Parked, Starting};

    match (phase, input) {
        (Starting, Input::Attached) => Ok(Step::Moved(Parked, &[Effect::Journal, Effect::Publish])),
        (Parked, Input::Bind) => Ok(Step::Moved(
            Bound,
            &[Effect::Journal, Effect::Bind, Effect::Publish],
        )),
        (Parked, Input::Claimed) => Ok(Step::Moved(Bound, &[Effect::Bind, Effect::Publish])),
        (Starting | Parked | Bound, Input::Destroy) => Ok(Step::Moved(
            Destroying,
            &[Effect::Journal, Effect::Publish, Effect::Destroy],
        )),
        (Destroying, Input::Removed) => Ok(Step::Moved(Gone, &[Effect::Forget, Effect::Publish])),
        (Starting, Input::Bind | Input::Claimed) => Err(Denied::NotReady),
        (Bound, Input::Bind | Input::Claimed) => Err(Denied::Taken),
        (Destroying | Gone, Input::Bind | Input::Claimed) => Err(Denied::Leaving),
        (Starting | Parked | Bound, Input::Removed) => Err(Denied::NotLeaving),
        // A start that ended after it was called off, and repeats.
        (Parked | Bound | Destroying | Gone, Input::Attached)
        | (Destroying | Gone, Input::Destroy)
        | (Gone, Input::Removed) => Ok(Step::Satisfied),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Attached),
            Just(Input::Bind),
            Just(Input::Claimed),
            Just(Input::Destroy),
            Just(Input::Removed),
        ]
    }

    proptest! {
        #[test]
        fn an_instance_only_goes_forward_and_is_bound_and_destroyed_at_most_once(
            inputs in prop::collection::vec(input(), 0..32),
        ) {
            let mut phase = InstancePhase::Starting;
            let (mut bound, mut destroyed, mut forgotten) = (0, 0, 0);
            for input in inputs {
                let Ok(Step::Moved(next, effects)) = step(phase, input) else { continue };
                prop_assert!(next > phase);
                let durable = effects.first();
                prop_assert!(
                    input == Input::Claimed
                        || matches!(durable, Some(Effect::Journal | Effect::Forget)),
                    "durable before anything else"
                );
                bound += effects.iter().filter(|e| **e == Effect::Bind).count();
                destroyed += effects.iter().filter(|e| **e == Effect::Destroy).count();
                forgotten += effects.iter().filter(|e| **e == Effect::Forget).count();
                phase = next;
            }
            prop_assert!(bound <= 1 && destroyed <= 1);
            prop_assert!(forgotten <= destroyed, "nothing is forgotten before it is removed");
        }

        #[test]
        fn whatever_happened_destroy_and_removed_end_it(
            inputs in prop::collection::vec(input(), 0..16),
        ) {
            let mut phase = InstancePhase::Starting;
            for input in inputs.into_iter().chain([Input::Destroy, Input::Removed]) {
                if let Ok(Step::Moved(next, _)) = step(phase, input) {
                    phase = next;
                }
            }
            prop_assert_eq!(phase, InstancePhase::Gone);
        }
    }
}
