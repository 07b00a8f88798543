use proptest::prelude::*;
use time::OffsetDateTime;

use super::*;
use crate::model::Traffic;

const BOOT: &str = "5f0a2c3e-7d1b-4c8e-9f6a-0b1c2d3e4f50";

fn at(micros: u64) -> BootInstant {
    BootInstant {
        boot: BOOT.parse().unwrap(),
        micros,
    }
}

fn ending(reason: EndReason) -> Ending {
    Ending {
        reason,
        at: OffsetDateTime::UNIX_EPOCH,
        traffic: Traffic::default(),
        detail: None,
        blame: None,
    }
}

fn any_reason() -> impl Strategy<Value = EndReason> {
    prop::sample::select(EndReason::ALL.to_vec())
}

proptest! {
    #[test]
    fn the_first_reason_wins_and_is_what_everyone_sees(reasons in prop::collection::vec(any_reason(), 1..8)) {
        let sessions = Sessions::default();
        let id = SessionId::random();
        sessions.expect(id.clone(), at(u64::MAX), None);
        let mut wins = 0;
        for reason in &reasons {
            if let Some(Cut::Won { .. }) = sessions.cut(&id, *reason) {
                wins += 1;
                sessions.settle(&id, ending(*reason), 1, 0);
            }
        }
        prop_assert_eq!(wins, 1);
        let view = sessions.look(&id).unwrap();
        let seen = matches!(&*view.borrow(), SessionView::Ended(ending) if ending.reason == reasons[0]);
        prop_assert!(seen);
    }
}

#[test]
fn a_session_that_was_never_heard_of_cannot_be_ended() {
    let sessions = Sessions::default();
    let cut = sessions.cut(&SessionId::random(), EndReason::ClientDelete);
    assert!(cut.is_none());
}

#[test]
fn an_expectation_does_not_bring_an_ended_session_back() {
    let sessions = Sessions::default();
    let id = SessionId::random();
    sessions.expect(id.clone(), at(100), None);
    sessions.cut(&id, EndReason::Error);
    sessions.expect(id.clone(), at(200), None);
    let view = sessions.look(&id).unwrap();
    assert!(matches!(
        &*view.borrow(),
        SessionView::Cutting(EndReason::Error)
    ));
}

#[test]
fn only_old_acknowledged_endings_and_stale_expectations_are_forgotten() {
    let sessions = Sessions::default();
    let (stale, fresh) = (SessionId::random(), SessionId::random());
    sessions.expect(stale.clone(), at(10), None);
    sessions.expect(fresh.clone(), at(u64::MAX), None);
    let (known, unknown) = (SessionId::random(), SessionId::random());
    for (seq, id) in [(1, &known), (2, &unknown)] {
        sessions.expect(id.clone(), at(u64::MAX), None);
        sessions.cut(id, EndReason::TtlExpired);
        sessions.settle(id, ending(EndReason::TtlExpired), seq, 0);
    }
    sessions.forget(at(REMEMBERED_MICROS - 1), 1);
    assert!(sessions.look(&stale).is_none());
    assert!(
        sessions.look(&known).is_some(),
        "remembered for ten minutes"
    );
    sessions.forget(at(REMEMBERED_MICROS), 1);
    assert!(sessions.look(&known).is_none());
    assert!(
        sessions.look(&unknown).is_some(),
        "the agent does not know yet"
    );
    assert!(sessions.look(&fresh).is_some());
}
