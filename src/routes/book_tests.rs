use proptest::prelude::*;

use super::*;
use crate::runtime::boot_id;

fn at(secs: u64) -> BootInstant {
    BootInstant {
        boot: boot_id().unwrap(),
        micros: secs * 1_000_000,
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const COOLDOWN: Duration = Duration::from_secs(30);

fn book(count: usize, sessions: usize, cooldown: Duration) -> Book {
    let mut book = Book::default();
    let terms = Terms { sessions, cooldown };
    let routes = NAMES[..count].iter();
    book.set_routes(routes.map(|name| ((*name).to_owned(), terms)).collect());
    book
}

#[derive(Debug, Clone)]
enum Act {
    Take(usize, usize),
    Release(usize),
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..12_usize, 0..=NAMES.len()).prop_map(|(who, fitting)| Act::Take(who, fitting)),
        (0..12_usize).prop_map(Act::Release),
        (1..40_u64).prop_map(Act::Wait),
    ]
}

proptest! {
    #[test]
    fn no_route_is_ever_held_by_too_many_or_given_while_it_rests(
        sessions in 1..3_usize,
        unusable in 0..4_usize,
        key in prop::sample::select(vec!["", "cart-9"]),
        acts in prop::collection::vec(act(), 0..80),
    ) {
        let usable = |name: &str| NAMES[unusable] != name;
        let instances: Vec<_> = (0..12).map(|_| InstanceId::random()).collect();
        let mut book = book(4, sessions, COOLDOWN);
        let mut now = 1_000;
        let mut last_release: HashMap<String, u64> = HashMap::new();
        for act in acts {
            match act {
                Act::Wait(secs) => now += secs,
                Act::Release(who) => {
                    if let Some(hold) = book.release(instances[who], at(now)) {
                        last_release.insert(hold.route, now);
                    }
                    book.sweep(at(now));
                }
                Act::Take(who, fitting) => {
                    let fitting = &NAMES[..fitting];
                    let before = book.clone();
                    let had = book.held_by(instances[who]).map(str::to_owned);
                    match book.take(instances[who], (fitting, key), at(now), usable) {
                        Ok(route) => {
                            prop_assert!(had.as_ref().is_none_or(|had| *had == route), "idempotent");
                            if had.is_none() {
                                prop_assert!(usable(&route) && fitting.contains(&&*route));
                                let rested = last_release.get(&route)
                                    .is_none_or(|at| now >= at + COOLDOWN.as_secs());
                                prop_assert!(before.is_held(&route) || rested);
                            }
                        }
                        Err(why) => {
                            prop_assert_eq!(why.fitting, fitting.len());
                            prop_assert_eq!(why.held + why.resting + why.unusable, fitting.len());
                        }
                    }
                }
            }
            for name in NAMES {
                prop_assert!(book.standing(name, at(now)).held <= sessions);
            }
        }
    }
}

#[test]
fn the_least_held_is_given_first_and_of_those_the_least_recently_used() {
    let mut book = book(3, 2, Duration::ZERO);
    let mut take = |who| book.take(who, (&NAMES[..3], ""), at(1), |_| true).unwrap();
    let first = InstanceId::random();
    assert_eq!(take(first), "a");
    let rest = ["b", "c", "a", "b", "c"];
    assert_eq!(rest.map(|_| take(InstanceId::random())), rest);
    let full = book
        .take(InstanceId::random(), (&NAMES[..3], ""), at(1), |_| true)
        .unwrap_err();
    assert_eq!((full.held, full.retry_after), (3, None));
    // Given back and free again; "a" was used longer ago than the others, "b" is held less.
    book.release(first, at(2));
    let taken = book.take(InstanceId::random(), (&["b", "a"], ""), at(3), |_| true);
    assert_eq!(taken.as_deref(), Ok("a"));
}

#[test]
fn a_key_finds_its_route_again_and_the_next_one_while_it_is_held() {
    let fitting = &NAMES[..];
    let mut book = book(4, 1, Duration::ZERO);
    let mut take = |key| {
        let who = InstanceId::random();
        let route = book.take(who, (fitting, key), at(1), |_| true).unwrap();
        (who, route, book.release(who, at(1)), book.sweep(at(1)))
    };
    let (_, home, ..) = take("cart-9");
    take("");
    take("another");
    let (who, again, ..) = take("cart-9");
    assert_eq!(again, home);
    book.take(who, (fitting, "cart-9"), at(2), |_| true)
        .unwrap();
    let second = book.take(InstanceId::random(), (fitting, "cart-9"), at(2), |_| true);
    assert_ne!(second.unwrap(), home);
}

#[test]
fn a_resting_route_says_when_to_come_back() {
    let mut book = book(1, 1, COOLDOWN);
    let who = InstanceId::random();
    let fitting = (&NAMES[..1], "");
    book.take(who, fitting, at(100), |_| true).unwrap();
    book.release(who, at(110));
    let full = book
        .take(InstanceId::random(), fitting, at(120), |_| true)
        .unwrap_err();
    assert_eq!(full.retry_after, Some(Duration::from_secs(20)));
    assert_eq!(book.sweep(at(120)), []);
    assert_eq!(book.sweep(at(140)), [who]);
    book.take(InstanceId::random(), fitting, at(140), |_| true)
        .unwrap();
}

#[test]
fn a_route_that_is_configured_no_longer_is_held_until_it_is_given_back() {
    let mut book = book(2, 1, COOLDOWN);
    let who = InstanceId::random();
    book.take(who, (&["a"], ""), at(1), |_| true).unwrap();
    book.set_routes(Vec::new());
    assert!(book.is_held("a"));
    book.take(InstanceId::random(), (&["a"], ""), at(1), |_| true)
        .unwrap_err();
    book.release(who, at(2));
    assert_eq!(book.sweep(at(2)), [who]);
}

#[test]
fn who_moves_on_holds_the_other_and_never_two_or_none() {
    let mut book = book(3, 1, COOLDOWN);
    let [one, two] = [InstanceId::random(), InstanceId::random()];
    let any = |_: &str| true;
    assert_eq!(book.take(one, (&["a"], ""), at(0), any).unwrap(), "a");
    assert_eq!(book.take(two, (&["b"], ""), at(0), any).unwrap(), "b");
    let not_c = |name: &str| name != "c";
    assert_eq!(
        book.move_on(one, &["b", "c"], at(1), not_c),
        None,
        "b is held, c is ill"
    );
    assert_eq!(book.held_by(one), Some("a"));
    assert_eq!(
        book.move_on(one, &["b", "c"], at(1), any).as_deref(),
        Some("c")
    );
    assert_eq!(book.held_by(one), Some("c"));
    let lost = book.standing("a", at(1));
    assert_eq!((lost.held, lost.resting), (0, None));
    assert_eq!(book.release(one, at(2)).unwrap().route, "c");
    let stranger = InstanceId::random();
    assert_eq!(
        book.move_on(stranger, &["a"], at(2), any),
        None,
        "who holds nothing"
    );
}
