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
    fn phases_only_go_forward_and_the_first_cut_is_final(inputs in prop::collection::vec(input(), 0..64)) {
        let mut state = State::Creating;
        let mut first_cut = None;
        let mut first_asked = None;
        for input in inputs {
            if let (Input::Cut(won), None) = (input, first_cut) {
                first_cut = Some(won);
            }
            let Ok(Step::Moved(next, effects)) = state.step(input) else { continue };
            prop_assert!(next.phase() > state.phase());
            prop_assert_eq!(effects.first(), Some(&Effect::Journal), "durable before anything else");
            let published = effects.iter().position(|effect| *effect == Effect::Publish);
            prop_assert!(published.is_some(), "every change is told");
            if let State::Closing(asked) = next {
                prop_assert!(first_asked.replace(asked).is_none(), "the first end asked for is kept");
            }
            state = next;
        }
        if let State::Ended(won) = state {
            prop_assert_eq!(Some(won), first_cut);
        } else {
            prop_assert_eq!(first_cut, None);
        }
    }

    #[test]
    fn asking_twice_changes_nothing(a in reason(), b in reason()) {
        let Ok(Step::Moved(closing, _)) = State::Ready.step(Input::End(a)) else {
            return Err(TestCaseError::fail("an end of a ready session moves it"));
        };
        prop_assert_eq!(closing.step(Input::End(b)), Ok(Step::Satisfied));
    }
}

#[test]
fn an_end_that_was_beaten_carries_the_winner() {
    let closing = State::Closing(EndReason::ClientDelete);
    let step = closing.step(Input::Cut(EndReason::TtlExpired)).unwrap();
    assert!(matches!(
        step,
        Step::Moved(State::Ended(EndReason::TtlExpired), _)
    ));
}

#[test]
fn a_session_that_serves_cannot_fail_to_start() {
    State::Ready.step(Input::Failed).unwrap_err();
}
