use futures::FutureExt;
use tokio::sync::mpsc;

use super::*;
use crate::{
    journal::SessionRow,
    model::{EgressWish, InstanceId, Phase, SessionSpec, Substrate},
    runtime::{boot_now, wall_now},
    session::Snapshot,
};

fn down(down: u64) -> Traffic {
    Traffic {
        down,
        ..Traffic::default()
    }
}

fn moved<const N: usize>(sessions: [(&SessionId, u64); N]) -> Moved {
    let sessions = sessions.map(|(id, bytes)| (id.clone(), down(bytes)));
    Moved {
        at: OffsetDateTime::UNIX_EPOCH,
        sessions: sessions.into(),
    }
}

/// How `id` ended, as its watchers are told.
fn ended(id: &SessionId, bytes: u64) -> Item {
    let spec = SessionSpec {
        substrate: Substrate::Chromium,
        profile: "default".to_owned(),
        ttl: std::time::Duration::from_secs(60),
        idle_timeout: std::time::Duration::from_secs(60),
        labels: std::collections::BTreeMap::new(),
        cdp_token: None,
        egress: EgressWish::default(),
    };
    let ids = (id.clone(), InstanceId::random());
    let row = SessionRow::ordered(ids, spec, (wall_now(), boot_now().unwrap()));
    Item::Event(Event {
        seq: 1,
        at: wall_now(),
        what: What::Session(Box::new(Snapshot {
            phase: Phase::Ended,
            traffic: down(bytes),
            ..Snapshot::from(&row)
        })),
    })
}

/// Somebody who watches, and events for them.
fn watcher(meters: &Meters) -> (mpsc::Sender<Item>, Pin<Box<dyn Stream<Item = Told> + Send>>) {
    let (events, items) = mpsc::channel(8);
    let items = stream::unfold(items, |mut items| async {
        Some((items.recv().await?, items))
    });
    (events, Box::pin(meters.beside(items)))
}

#[test]
fn meters_are_wanted_while_somebody_watches() {
    let meters = Meters::default();
    assert_eq!(meters.wanted().now_or_never(), None);
    let (_events, one) = watcher(&meters);
    let (_events, other) = watcher(&meters);
    assert_eq!(meters.wanted().now_or_never(), Some(()));
    drop(one);
    assert_eq!(meters.wanted().now_or_never(), Some(()));
    drop(other);
    assert_eq!(meters.wanted().now_or_never(), None);
}

#[test]
fn who_waits_for_a_watcher_is_woken_by_one() {
    let meters = Meters::default();
    let mut waiting = Box::pin(meters.wanted());
    assert_eq!(waiting.as_mut().now_or_never(), None);
    let _watcher = watcher(&meters);
    assert_eq!(waiting.now_or_never(), Some(()));
}

#[test]
fn a_slow_watcher_misses_rounds_and_no_session() {
    let meters = Meters::default();
    let (a, b, silent) = (
        SessionId::random(),
        SessionId::random(),
        SessionId::random(),
    );
    let (_events, mut quick) = watcher(&meters);
    let (_events, mut slow) = watcher(&meters);
    let mut heard = Vec::new();
    for round in [
        [(&a, 1), (&b, 0), (&silent, 0)],
        [(&a, 1), (&b, 5), (&silent, 0)],
        [(&a, 2), (&b, 5), (&silent, 0)],
        [(&a, 2), (&b, 5), (&silent, 0)],
    ] {
        meters.tell(moved(round));
        heard.push(quick.next().now_or_never().flatten());
    }
    let told = |of| Some(Told::Moved(of));
    let each = [
        told(moved([(&a, 1)])),
        told(moved([(&b, 5)])),
        told(moved([(&a, 2)])),
        None,
    ];
    assert_eq!(heard, each);
    let at_once = slow.next().now_or_never().flatten();
    assert_eq!(at_once, told(moved([(&a, 2), (&b, 5)])));
    assert_eq!(slow.next().now_or_never(), None);
}

#[test]
fn an_end_has_the_last_word_over_meters_that_were_looked_at_before_it() {
    let meters = Meters::default();
    let id = SessionId::random();
    let (events, mut watcher) = watcher(&meters);
    meters.tell(moved([(&id, 7)]));
    events.try_send(ended(&id, 9)).unwrap();
    let first = watcher.next().now_or_never().flatten();
    assert!(matches!(first, Some(Told::Item(_))), "{first:?}");
    assert_eq!(watcher.next().now_or_never(), None);
    drop(events);
    assert_eq!(watcher.next().now_or_never(), Some(None));
}
