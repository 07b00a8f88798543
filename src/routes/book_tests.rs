use proptest::prelude::*;

use super::*;
use crate::runtime::boot_id;

fn at(secs: u64) -> BootInstant {
    BootInstant {
        boot: boot_id().unwrap(),
        micros: secs * 1_000_000,
    }
}

fn addresses(count: u8) -> Vec<IpAddr> {
    (1..=count).map(|n| IpAddr::from([10, 0, 0, n])).collect()
}

const COOLDOWN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
enum Act {
    Take(usize),
    Release(usize),
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..12_usize).prop_map(Act::Take),
        (0..12_usize).prop_map(Act::Release),
        (1..40_u64).prop_map(Act::Wait),
    ]
}

proptest! {
    #[test]
    fn no_address_is_ever_held_by_too_many_or_given_while_it_rests(
        per_address in 1..3_u32,
        unusable in 0..4_usize,
        acts in prop::collection::vec(act(), 0..80),
    ) {
        let all = addresses(4);
        let usable = |ip: IpAddr| all.iter().position(|a| *a == ip).unwrap() != unusable;
        let instances: Vec<_> = (0..12).map(|_| InstanceId::random()).collect();
        let mut book = Book::new(all.clone(), per_address, COOLDOWN);
        let mut now = 1_000;
        let mut last_release: Vec<Option<u64>> = vec![None; all.len()];
        for act in acts {
            match act {
                Act::Wait(secs) => now += secs,
                Act::Release(who) => {
                    if let Some(hold) = book.release(instances[who], at(now)) {
                        let index = all.iter().position(|a| *a == hold.address).unwrap();
                        last_release[index] = Some(now);
                    }
                    book.sweep(at(now));
                }
                Act::Take(who) => {
                    let before = book.occupancy(at(now), usable);
                    let had = book.held_by(instances[who]);
                    match book.take(instances[who], at(now), usable) {
                        Ok(address) => {
                            prop_assert!(had.is_none_or(|had| had == address), "idempotent");
                            let index = all.iter().position(|a| *a == address).unwrap();
                            if had.is_none() {
                                prop_assert!(index != unusable);
                                let rested = last_release[index]
                                    .is_none_or(|at| now >= at + COOLDOWN.as_secs());
                                prop_assert!(before[index].held > 0 || rested);
                            }
                        }
                        Err(why) => {
                            prop_assert_eq!(why.configured, all.len());
                            prop_assert_eq!(why.held + why.resting + why.unusable, all.len());
                        }
                    }
                }
            }
            for one in book.occupancy(at(now), usable) {
                prop_assert!(one.held <= per_address as usize);
            }
        }
    }
}

#[test]
fn the_least_held_address_is_given_first() {
    let mut book = Book::new(addresses(2), 2, Duration::ZERO);
    let mut take = || book.take(InstanceId::random(), at(1), |_| true).unwrap();
    let given = [take(), take(), take(), take()];
    let all = addresses(2);
    assert_eq!(given, [all[0], all[1], all[0], all[1]]);
    let full = book
        .take(InstanceId::random(), at(1), |_| true)
        .unwrap_err();
    assert_eq!((full.held, full.retry_after), (2, None));
}

#[test]
fn a_resting_address_says_when_to_come_back() {
    let mut book = Book::new(addresses(1), 1, COOLDOWN);
    let who = InstanceId::random();
    book.take(who, at(100), |_| true).unwrap();
    book.release(who, at(110));
    let full = book
        .take(InstanceId::random(), at(120), |_| true)
        .unwrap_err();
    assert_eq!(full.retry_after, Some(Duration::from_secs(20)));
    assert_eq!(book.sweep(at(120)), []);
    assert_eq!(book.sweep(at(140)), [who]);
    book.take(InstanceId::random(), at(140), |_| true).unwrap();
}
