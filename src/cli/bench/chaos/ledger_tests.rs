use super::*;

fn session(id: &str, down: u64, reason: Option<EndReason>) -> Session {
    let mut session = Session {
        id: id.to_owned(),
        traffic: Some(Traffic {
            down,
            ..Traffic::default()
        }),
        ..Session::default()
    };
    session.set_phase(reason.map_or(Phase::Ready, |_| Phase::Ended));
    session.set_end_reason(reason.unwrap_or_default());
    session
}

fn verdicts(hurt: bool, seen: &[Session]) -> usize {
    let mut ledger = Ledger::default();
    ledger.ordered("a", false);
    if hurt {
        ledger.hurt("a");
    }
    for one in seen {
        ledger.saw(std::slice::from_ref(one));
    }
    ledger.broken.len()
}

/// A session that was taken and deleted, with so many events of its end.
fn deleted(events: &[(u64, EndReason)], killed: bool) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.ordered("a", false);
    ledger.answered("a", Answer::Taken);
    ledger.saw(&[session("a", 1, None)]);
    ledger.deleted("a");
    if killed {
        ledger.killed();
    }
    for (seq, reason) in events {
        ledger.heard(*seq, &session("a", 1, Some(*reason)));
    }
    ledger.saw(&[session("a", 1, Some(EndReason::ClientDelete))]);
    ledger
}

#[test]
fn a_session_ends_once_for_a_reason_that_was_given_and_its_bytes_only_grow() {
    use EndReason::{ClientDelete, SubstrateDown};
    let live = |down| session("a", down, None);
    let over = |reason| session("a", 9, Some(reason));
    assert_eq!(verdicts(false, &[live(1), live(9)]), 0);
    assert_eq!(verdicts(false, &[live(9), live(1)]), 1);
    assert_eq!(verdicts(true, &[live(1), over(SubstrateDown)]), 0);
    assert_eq!(verdicts(false, &[live(1), over(SubstrateDown)]), 1);
    assert_eq!(
        verdicts(true, &[over(SubstrateDown), over(ClientDelete)]),
        1
    );
    assert_eq!(verdicts(true, &[over(SubstrateDown), live(9)]), 1);
}

#[test]
fn every_order_is_counted_once() {
    let mut ledger = Ledger::default();
    for (id, answer) in [
        ("ended", Answer::Taken),
        ("refused", Answer::Refused),
        ("cut off", Answer::None),
        ("cut off and made", Answer::None),
    ] {
        ledger.ordered(id, true);
        ledger.answered(id, answer);
    }
    let over = |id| session(id, 0, Some(EndReason::Error));
    ledger.saw(&[over("ended"), over("cut off and made")]);
    for (seq, id) in [(1, "ended"), (2, "cut off and made")] {
        ledger.heard(seq, &over(id));
    }
    let tally = ledger.close();
    assert_eq!(ledger.broken, Vec::<String>::new());
    assert_eq!((tally.refused, tally.untaken, tally.unheard), (1, 1, 0));
    let ended: usize = tally.ended.values().sum();
    assert_eq!(ended + tally.refused + tally.untaken, tally.orders);
}

#[test]
fn what_was_taken_is_known_and_ends_and_what_was_refused_is_not() {
    let mut ledger = Ledger::default();
    ledger.ordered("a", true);
    ledger.answered("a", Answer::Taken);
    ledger.saw(&[]);
    assert_eq!(ledger.broken.len(), 1, "{:?}", ledger.broken);
    ledger.close();
    assert!(
        ledger.broken[1].ends_with("never ended"),
        "{:?}",
        ledger.broken
    );

    let mut ledger = Ledger::default();
    ledger.ordered("a", false);
    ledger.answered("a", Answer::Refused);
    ledger.saw(&[session("a", 0, None)]);
    assert_eq!(ledger.broken.len(), 1, "{:?}", ledger.broken);
}

#[test]
fn an_end_is_told_once_and_as_it_was() {
    use EndReason::{ClientDelete, SubstrateDown};
    let broken = |mut ledger: Ledger| {
        let unheard = ledger.close().unheard;
        (ledger.broken.len(), unheard)
    };
    assert_eq!(broken(deleted(&[(7, ClientDelete)], false)), (0, 0));
    // The same event once more is what a reader that dials again may hear.
    let same = [(7, ClientDelete), (7, ClientDelete)];
    assert_eq!(broken(deleted(&same, false)), (0, 0));
    let twice = [(7, ClientDelete), (8, ClientDelete)];
    assert_eq!(broken(deleted(&twice, false)), (1, 0));
    assert_eq!(broken(deleted(&[(7, SubstrateDown)], false)), (1, 0));
    assert_eq!(broken(deleted(&[], false)), (1, 0), "never told");
    assert_eq!(broken(deleted(&[], true)), (0, 1), "died with the agent");
    assert_eq!(deleted(&[], false).awaited(), 1);
    assert_eq!(deleted(&[], true).awaited(), 0);
}

#[test]
fn whoever_lived_on_under_the_next_agent_has_its_event_before_it() {
    let mut ledger = Ledger::default();
    ledger.ordered("a", false);
    ledger.saw(&[session("a", 0, None)]);
    ledger.killed();
    ledger.saw(&[session("a", 0, None)]);
    ledger.deleted("a");
    ledger.saw(&[session("a", 0, Some(EndReason::ClientDelete))]);
    assert_eq!(ledger.close().unheard, 0);
    assert_eq!(ledger.broken.len(), 1, "{:?}", ledger.broken);
}
