use proptest::prelude::*;

use super::*;
use crate::runtime::boot_id;

fn at(secs: u64) -> BootInstant {
    BootInstant {
        boot: boot_id().unwrap(),
        micros: secs * 1_000_000,
    }
}

fn quarantined(health: &Health, now: u64) -> Option<u64> {
    match health.state(at(now)) {
        State::Quarantined(left) => Some(left.as_secs()),
        State::Well | State::OnTrial => None,
    }
}

#[test]
fn three_faults_in_a_row_are_a_quarantine_that_doubles() {
    let mut health = Health::default();
    for now in [1, 2] {
        health.failed(Fault::Unreachable, 1, at(now));
        assert_eq!(health.state(at(now)), State::Well);
    }
    assert!(health.ails() && health.outage(at(2)).is_none());
    health.failed(Fault::Unreachable, 1, at(3));
    assert_eq!(quarantined(&health, 3), Some(10));
    // More of the same changes nothing while it rests.
    health.failed(Fault::Unreachable, 9, at(9));
    assert_eq!(quarantined(&health, 9), Some(4));
    assert_eq!(health.state(at(13)), State::OnTrial);
    health.failed(Fault::TimedOut, 1, at(13));
    assert_eq!(quarantined(&health, 13), Some(20));
    assert_eq!(health.last(), Some(Fault::TimedOut));
    assert_eq!(health.outage(at(31)), Some(Duration::from_secs(30)));
}

#[test]
fn one_good_connection_ends_the_outage_and_two_the_quarantine() {
    let mut health = Health::default();
    health.failed(Fault::Auth, 3, at(1));
    health.served(1);
    assert!(health.outage(at(2)).is_none());
    assert!(quarantined(&health, 2).is_some(), "one is no recovery");
    health.served(1);
    assert_eq!(health.state(at(3)), State::Well);
    assert!(!health.ails());
    assert_eq!(health.counts(), (2, 3));
}

#[test]
fn a_fault_now_and_then_is_nothing() {
    let mut health = Health::default();
    for now in 0..50 {
        health.failed(Fault::Refused, 2, at(now));
        health.served(1);
        assert_eq!(health.state(at(now)), State::Well);
    }
}

proptest! {
    #[test]
    fn a_rest_is_bounded_and_an_outage_ends_with_what_works(
        steps in prop::collection::vec((any::<bool>(), 0..4_u64, 0..400_u64), 0..60),
    ) {
        let (mut health, mut now) = (Health::default(), 1);
        for (good, count, wait) in steps {
            now += wait;
            if good {
                health.served(count);
                prop_assert!(count == 0 || health.outage(at(now)).is_none());
            } else {
                health.failed(Fault::TimedOut, count, at(now));
            }
            prop_assert!(quarantined(&health, now).is_none_or(|left| left <= 600));
            prop_assert!(health.state(at(now)) == State::Well || health.ails());
        }
    }
}

#[test]
fn only_an_upstreams_own_faults_are_a_routes() {
    assert_eq!(Fault::of("upstream_auth"), Some(Fault::Auth));
    for word in [
        "connect_failed",
        "connect_timeout",
        "denied_address",
        "malformed",
    ] {
        assert_eq!(Fault::of(word), None);
    }
}
