use time::OffsetDateTime;

use super::*;
use crate::model::Traffic;

const AHEAD: Journalled = Journalled::Ready(Deadline::Ahead);
const LATE: Journalled = Journalled::Ready(Deadline::Passed);
const OLD: Journalled = Journalled::Ready(Deadline::OtherBoot);
const CLOSING: Journalled = Journalled::Closing(EndReason::ClientDelete);
const CONTAINERS: [AtDocker; 3] = [AtDocker::Gone, AtDocker::Runs, AtDocker::Paused];

fn ending() -> Ending {
    Ending {
        reason: EndReason::IdleExpired,
        at: OffsetDateTime::UNIX_EPOCH,
        traffic: Traffic::default(),
        detail: None,
        blame: None,
    }
}

fn everywhere() -> [AtRelay; 4] {
    [
        AtRelay::Ended(ending()),
        AtRelay::Holds,
        AtRelay::Lost,
        AtRelay::Away,
    ]
}

/// Every cell of a line of the table.
fn line(journalled: Journalled, containers: &[AtDocker], relays: &[AtRelay], verdict: &Verdict) {
    for container in containers {
        for relay in relays {
            let found = decide(journalled, *container, relay.clone());
            assert_eq!(found, *verdict, "{journalled:?} {container:?} {relay:?}");
        }
    }
}

#[test]
fn what_has_ended_stays_ended_whatever_is_left_of_it() {
    line(
        Journalled::Ended,
        &CONTAINERS,
        &everywhere(),
        &Verdict::DestroyOnly,
    );
}

#[test]
fn what_the_relay_saw_end_has_ended_that_way() {
    for journalled in [Journalled::Creating, AHEAD, LATE, OLD, CLOSING] {
        line(
            journalled,
            &CONTAINERS,
            &[AtRelay::Ended(ending())],
            &Verdict::TakeEnding(ending()),
        );
    }
}

#[test]
fn what_never_was_ready_is_an_error() {
    let error = Verdict::EndAs(EndReason::Error, When::Now);
    line(
        Journalled::Creating,
        &CONTAINERS,
        &everywhere()[1..],
        &error,
    );
}

#[test]
fn nothing_of_another_boot_is_adopted() {
    let down = Verdict::EndAs(EndReason::SubstrateDown, When::LastBoot);
    line(OLD, &CONTAINERS, &everywhere()[1..], &down);
}

#[test]
fn a_ready_session_without_a_container_went_down_under_its_customer() {
    let down = Verdict::EndAs(EndReason::SubstrateDown, When::Now);
    for journalled in [AHEAD, LATE] {
        line(journalled, &[AtDocker::Gone], &everywhere()[1..], &down);
    }
}

#[test]
fn a_ready_session_with_its_container_goes_on_unless_its_time_ran_out() {
    let runs = [AtDocker::Runs, AtDocker::Paused];
    let late = Verdict::EndAs(EndReason::TtlExpired, When::Deadline);
    // The relay's own clock ends what it holds: there is one arbiter.
    line(AHEAD, &runs, &[AtRelay::Holds], &Verdict::Adopt);
    line(LATE, &runs, &[AtRelay::Holds], &Verdict::Adopt);
    line(LATE, &runs, &[AtRelay::Lost, AtRelay::Away], &late);
    line(AHEAD, &runs, &[AtRelay::Lost], &Verdict::Reattach);
    line(AHEAD, &runs, &[AtRelay::Away], &Verdict::Keep);
}

#[test]
fn a_closing_session_ends_as_it_was_asked_to() {
    let asked = EndReason::ClientDelete;
    line(
        CLOSING,
        &CONTAINERS,
        &[AtRelay::Holds],
        &Verdict::AskAgain(asked),
    );
    let end = Verdict::EndAs(asked, When::Now);
    line(CLOSING, &CONTAINERS, &[AtRelay::Lost, AtRelay::Away], &end);
}
