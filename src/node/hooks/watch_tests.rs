use std::collections::BTreeMap;

use super::*;

const ROOM: Capacity = Capacity {
    safe_to_terminate: false,
    sessions: 2,
    slots: 4,
    free: 2,
    free_warm: 0,
    pending_claims: 0,
    draining: false,
};
const FULL: Capacity = Capacity {
    sessions: 4,
    free: 0,
    ..ROOM
};

fn pool(parked: usize) -> Vec<PoolProfile> {
    vec![PoolProfile {
        profile: "default".to_owned(),
        target: 4,
        parked,
        starting: 0,
        hits: 0,
        misses: 0,
        taken_over: 0,
        refills: 0,
        refilling: Duration::ZERO,
        last_refill: None,
        oldest: None,
        retired: BTreeMap::new(),
    }]
}

fn names(begun: &[Happened]) -> Vec<&'static str> {
    begun.iter().map(|happened| happened.event).collect()
}

#[test]
fn what_lasts_is_told_once_and_again_when_it_begins_again() {
    let mut edges = Edges::default();
    let mut see = |state: &NodeState, capacity, parked| {
        let begun = edges.see(state, capacity, &pool(parked), OffsetDateTime::UNIX_EPOCH);
        names(&begun)
    };
    let (ready, away) = (NodeState::Ready, NodeState::NotReady("no relay".to_owned()));
    assert_eq!(see(&NodeState::Starting, FULL, 4), [""; 0]);
    assert_eq!(see(&ready, ROOM, 4), ["node.ready"]);
    assert_eq!(see(&ready, ROOM, 2), [""; 0], "half is not low");
    assert_eq!(see(&ready, FULL, 1), ["capacity.exhausted", "pool.low"]);
    assert_eq!(see(&ready, FULL, 0), [""; 0]);
    assert_eq!(see(&ready, ROOM, 3), [""; 0], "not full again");
    assert_eq!(see(&ready, FULL, 1), ["capacity.exhausted"], "still low");
    assert_eq!(see(&away, FULL, 4), [""; 0]);
    assert_eq!(
        see(&ready, FULL, 1),
        ["node.ready", "capacity.exhausted", "pool.low"]
    );
}

#[test]
fn a_drain_is_worth_a_letter_and_a_cordon_is_not() {
    let boot = "5f0a2c3e-7d1b-4c8e-9f6a-0b1c2d3e4f50".parse().unwrap();
    let at = OffsetDateTime::UNIX_EPOCH;
    let told = |duty| published(7, at, &What::Duty { duty, sessions: 2 });
    let draining = told(Duty::Draining {
        until: crate::model::BootInstant { boot, micros: 7 },
        deadline: at,
    });
    let draining = draining.unwrap();
    assert_eq!(draining.event, "node.draining");
    assert_eq!(draining.data["deadline"], "1970-01-01T00:00:00Z");
    assert_eq!(draining.data["sessions"], 2);
    for nothing in [Duty::On, Duty::Cordoned, Duty::Drained] {
        assert_eq!(told(nothing), None);
    }
}

fn happened(event: &'static str, subject: &str) -> Happened {
    Happened {
        event,
        subject: subject.to_owned(),
        at: OffsetDateTime::UNIX_EPOCH,
        data: Value::Null,
    }
}

#[tokio::test]
async fn one_run_writes_each_letter_once_and_the_next_knows_since_when() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name| Arc::new(Queue::open(dir.path().join(name), 10).unwrap());
    let (one, other) = (open("exec"), open("webhook"));
    let wanted = vec!["session.ended".to_owned()];
    let seen = dir.path().join("seen");
    let queues = vec![Arc::clone(&one), Arc::clone(&other)];
    let mut clerk = Clerk::new(queues, wanted, seen.clone());
    assert_eq!(clerk.last_seen(), None);
    let stop = CancellationToken::new();
    for (event, subject) in [
        ("session.ended", "a"),
        ("session.ended", "a"),
        ("node.ready", "b"),
        ("session.ended", "b"),
    ] {
        clerk.write("n", happened(event, subject), &stop).await;
    }
    for queue in [one, other] {
        assert_eq!(queue.status("exec").pending, 2);
    }
    assert_eq!(clerk.last_seen(), Some(OffsetDateTime::UNIX_EPOCH));
}
