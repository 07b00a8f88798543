use proptest::prelude::*;

use super::*;

fn reason() -> impl Strategy<Value = EndReason> {
    prop::sample::select(EndReason::ALL.to_vec())
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Provisioned),
        Just(Input::Failed),
        reason().prop_map(Input::End),
        reason().prop_map(Input::Cut),
    ]
}

proptest! {
    #[test]
    fn phases_only_go_forward_and_the_first_that_asked_and_the_first_that_won_stay(
        inputs in prop::collection::vec(input(), 0..64),
    ) {
        let mut state = State::Creating;
        let (mut asked, mut won) = (None, None);
        let mut released = 0;
        for input in inputs {
            let Ok(Step::Moved(next, effects)) = state.step(input) else { continue };
            prop_assert!(next.phase() > state.phase());
            prop_assert_eq!(effects.first(), Some(&Effect::Journal), "durable before visible");
            let publish = effects.iter().position(|e| *e == Effect::Publish);
            prop_assert_eq!(publish, Some(1), "visible in every step");
            released += effects.iter().filter(|e| **e == Effect::Release).count();
            if let State::Closing(reason) = next {
                prop_assert!(asked.replace(reason).is_none());
                prop_assert!(effects.contains(&Effect::AskEnd));
            }
            if let State::Ended(reason) = next {
                prop_assert!(won.replace(reason).is_none());
                prop_assert_eq!(Input::Cut(reason), input, "the arbiter's word, not the asker's");
            }
            state = next;
        }
        prop_assert_eq!(released, usize::from(won.is_some()), "released once, at the end");
    }

    #[test]
    fn an_ended_session_is_satisfied_by_anything(won in reason(), input in input()) {
        prop_assert_eq!(State::Ended(won).step(input), Ok(Step::Satisfied));
    }

    #[test]
    fn nothing_keeps_a_session_from_ending(
        inputs in prop::collection::vec(input(), 0..16),
        asked in reason(),
        won in reason(),
    ) {
        let mut state = State::Creating;
        for input in inputs.into_iter().chain([Input::End(asked), Input::Cut(won)]) {
            if let Ok(Step::Moved(next, _)) = state.step(input) {
                state = next;
            }
        }
        prop_assert_eq!(state.phase(), Phase::Ended);
    }
}

#[test]
fn a_delete_that_lost_to_the_ttl_is_told_so() {
    let Ok(Step::Moved(closing, _)) = State::Ready.step(Input::End(EndReason::ClientDelete)) else {
        panic!("a ready session can be ended");
    };
    let ended = closing.step(Input::Cut(EndReason::TtlExpired));
    assert_matches::assert_matches!(
        ended,
        Ok(Step::Moved(State::Ended(EndReason::TtlExpired), _))
    );
}
