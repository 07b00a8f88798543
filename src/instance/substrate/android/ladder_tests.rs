use proptest::prelude::*;

use super::*;

const BOOT: Duration = Duration::from_secs(90);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn not_yet() -> Seen {
    Seen::NotYet("x".to_owned())
}

/// A ladder that has come as far as `rung` by `at`.
fn on(rung: Rung, at: Duration) -> Ladder {
    let mut ladder = Ladder::new(BOOT);
    while ladder.rung != rung {
        ladder.step(Seen::There, at);
    }
    ladder
}

#[test]
fn each_rung_has_its_deadline_and_its_failure() {
    let table = [
        (Rung::Greeting, 0, 90, "device_no_adbd"),
        (Rung::Boot, 5, 90, "device_not_booted"),
        (Rung::Package, 50, 70, "device_no_browser"),
        (Rung::Settings, 50, 70, "device_not_configured"),
        (Rung::Launch, 50, 80, "device_browser_not_started"),
    ];
    for (rung, begun, due, code) in table {
        let mut ladder = on(rung, secs(begun));
        assert_eq!(ladder.step(not_yet(), secs(due - 1)), Next::Again(rung));
        let Next::Failed(failed) = ladder.step(not_yet(), secs(due)) else {
            panic!("{rung:?} goes on")
        };
        assert_eq!(failed.code(), code);
    }
}

#[test]
fn a_boot_is_measured_from_the_start_of_the_container_and_every_other_rung_from_its_beginning() {
    let mut ladder = Ladder::new(BOOT);
    assert_eq!(ladder.stands(), (Rung::Greeting, secs(0), BOOT));
    ladder.step(Seen::There, secs(5));
    assert_eq!(ladder.stands(), (Rung::Boot, secs(0), BOOT));
    ladder.step(not_yet(), secs(6));
    assert_eq!(ladder.stands(), (Rung::Boot, secs(0), BOOT));
    ladder.step(Seen::There, secs(40));
    assert_eq!(ladder.stands(), (Rung::Package, secs(40), secs(20)));
}

#[test]
fn a_browser_without_devtools_is_started_once_more() {
    for (rung, limit, code) in [
        (Rung::Socket, 15, "device_no_devtools"),
        (Rung::Answer, 10, "device_devtools_silent"),
    ] {
        let mut ladder = on(rung, secs(50));
        let again = ladder.step(not_yet(), secs(50 + limit));
        assert_eq!(again, Next::Try(Rung::Launch));
        while ladder.rung != rung {
            ladder.step(Seen::There, secs(90));
        }
        let Next::Failed(failed) = ladder.step(not_yet(), secs(90 + limit)) else {
            panic!("{rung:?} goes on")
        };
        assert_eq!(failed.code(), code);
        assert!(failed.to_string().contains("2 times"), "{failed}");
    }
}

#[test]
fn a_crash_loop_is_told_from_a_slow_boot() {
    let mut ladder = on(Rung::Boot, secs(2));
    for death in 1..DEATHS {
        assert_eq!(
            ladder.step(Seen::ZygoteDied, secs(3)),
            Next::Again(Rung::Boot),
            "{death}"
        );
        ladder.step(not_yet(), secs(4));
    }
    let failed = ladder.step(Seen::ZygoteDied, secs(5));
    assert_eq!(failed, Next::Failed(Failed::CrashLoop { times: DEATHS }));
}

#[test]
fn an_adbd_that_goes_away_is_greeted_again_within_the_same_budget_until_it_is_too_often() {
    let lost = || Seen::AdbLost("gone".to_owned());
    let mut ladder = on(Rung::Boot, secs(10));
    assert_eq!(ladder.step(lost(), secs(20)), Next::Again(Rung::Greeting));
    assert_eq!(ladder.step(Seen::There, secs(80)), Next::Try(Rung::Boot));
    assert!(matches!(
        ladder.step(not_yet(), secs(90)),
        Next::Failed(Failed::NotBooted { .. })
    ));
    // After the boot it has a new one.
    let mut ladder = on(Rung::Launch, secs(80));
    assert_eq!(ladder.step(lost(), secs(100)), Next::Again(Rung::Greeting));
    let mut ladder = on(Rung::Boot, secs(1));
    for _ in 1..ADB_LOSSES {
        assert_eq!(ladder.step(lost(), secs(2)), Next::Again(Rung::Greeting));
    }
    let failed = ladder.step(lost(), secs(2));
    assert!(
        matches!(failed, Next::Failed(Failed::AdbUnstable { .. })),
        "{failed:?}"
    );
}

/// Without a key there is nothing to wait for; one that is refused may be accepted yet, for a while.
#[test]
fn a_key_is_shown_for_a_while_and_not_beyond_the_boot() {
    let refused = on(Rung::Greeting, secs(0)).step(Seen::WantsKey, secs(1));
    assert_eq!(refused, Next::Failed(Failed::WantsKey));
    let not_accepted = || Seen::KeyRefused("f00d".to_owned());
    for (first, last) in [(1, 1 + ACCEPTING.as_secs()), (80, BOOT.as_secs())] {
        let mut ladder = on(Rung::Greeting, secs(0));
        let again = Next::Again(Rung::Greeting);
        assert_eq!(ladder.step(not_accepted(), secs(first)), again);
        assert_eq!(ladder.step(not_accepted(), secs(last - 1)), again);
        let Next::Failed(failed) = ladder.step(not_accepted(), secs(last)) else {
            panic!("it is shown for ever")
        };
        assert_eq!(failed.code(), "device_key_refused");
        assert!(failed.to_string().contains("f00d"), "{failed}");
    }
    let mut ladder = on(Rung::Greeting, secs(0));
    ladder.step(not_accepted(), secs(1));
    assert_eq!(ladder.step(Seen::There, secs(9)), Next::Try(Rung::Boot));
}

proptest! {
    /// Whatever is seen, in whatever order: it ends within a bound.
    #[test]
    fn it_always_ends(seen in proptest::collection::vec(0_u8..13, 2_000)) {
        let (mut ladder, mut at) = (Ladder::new(BOOT), Duration::ZERO);
        let mut over = false;
        for one in seen {
            at += secs(1);
            let next = ladder.step(match one {
                0..3 => Seen::There,
                3 => Seen::AdbLost(String::new()),
                4 => Seen::ZygoteDied,
                5 => Seen::KeyRefused(String::new()),
                _ => not_yet(),
            }, at);
            if matches!(next, Next::Up | Next::Failed(_)) {
                over = true;
                break;
            }
        }
        prop_assert!(over, "still on {:?} after {:?}", ladder.rung, at);
    }
}
