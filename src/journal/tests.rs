use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{
    model::{
        EgressWish, EndReason, Ending, InstanceId, InstancePhase, Phase, SessionId, SessionSpec,
        Substrate, Traffic,
    },
    runtime::{boot_now, wall_now},
};

pub(super) fn row() -> SessionRow {
    let spec = SessionSpec {
        substrate: Substrate::Chromium,
        profile: "default".to_owned(),
        ttl: Duration::from_millis(1_800_000),
        idle_timeout: Duration::from_secs(300),
        labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        cdp_token: Some("secret".to_owned()),
        egress: EgressWish::default(),
    };
    let ids = (SessionId::random(), InstanceId::random());
    SessionRow {
        egress: Some([127, 0, 0, 2].into()),
        route: Some("pool-127.0.0.2".to_owned()),
        region: Some("de".to_owned()),
        ..SessionRow::ordered(ids, spec, (wall_now(), boot_now().unwrap()))
    }
}

pub(super) fn instance(id: InstanceId) -> InstanceRow {
    InstanceRow::new(id, "default".to_owned(), None)
}

pub(super) fn ended(mut row: SessionRow, at: time::OffsetDateTime) -> SessionRow {
    row.phase = Phase::Ended;
    row.asked = Some(EndReason::ClientDelete);
    row.ending = Some(Ending {
        reason: EndReason::TtlExpired,
        at,
        traffic: Traffic::default(),
        detail: None,
        blame: None,
    });
    row
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let (journal, first) = open(&path).unwrap();
    let row = row();
    let lease = LeaseRow {
        instance: row.instance,
        route: "pool-127.0.0.2".to_owned(),
        released: None,
    };
    journal
        .order(
            row.clone(),
            Under::Fresh(instance(row.instance)),
            Some(lease.clone()),
        )
        .await
        .unwrap();
    let traffic = Traffic {
        up: 1,
        down: 2,
        cdp_up: 3,
        cdp_down: 4,
        connections: 5,
    };
    journal
        .samples(vec![(row.id.clone(), traffic)])
        .await
        .unwrap();
    drop(journal);

    let (journal, again) = open(&path).unwrap();
    assert_eq!(
        (again.node, again.epoch),
        (first.node, again.epoch.max(first.epoch + 1)),
        "the same node, a newer agent"
    );
    let known = SessionRow { traffic, ..row };
    assert_eq!(again.sessions, std::slice::from_ref(&known));
    assert_eq!(again.instances, [instance(known.instance)]);
    assert_eq!(again.leases, [lease]);
    journal.instance_gone(known.instance).await.unwrap();
    journal.leases_over(vec![known.instance]).await.unwrap();
    let over = ended(known, wall_now());
    journal.session(over.clone()).await.unwrap();
    drop(journal);

    let (journal, last) = open(&path).unwrap();
    assert!(last.sessions.is_empty() && last.instances.is_empty() && last.leases.is_empty());
    assert_eq!(journal.find(&over.id).await.unwrap(), Some(over));
}

#[tokio::test]
async fn a_sample_never_moves_the_bytes_of_an_ended_session() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir.path().join("node.db")).unwrap();
    let over = ended(row(), wall_now());
    journal.session(over.clone()).await.unwrap();
    let late = Traffic {
        up: 99,
        ..Traffic::default()
    };
    journal
        .samples(vec![(over.id.clone(), late)])
        .await
        .unwrap();
    let found = journal.find(&over.id).await.unwrap().unwrap();
    assert_eq!(found.traffic, Traffic::default());
}

#[tokio::test]
async fn a_crash_between_two_commits_keeps_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let (journal, _) = open(&path).unwrap();
    let row = row();
    journal
        .order(row.clone(), Under::Fresh(instance(row.instance)), None)
        .await
        .unwrap();
    // What a kill -9 leaves: the files as they are, nothing checkpointed, nothing closed.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["node.db", "node.db-wal"] {
        std::fs::copy(dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    let (_journal, known) = open(&crashed.path().join("node.db")).unwrap();
    assert_eq!(known.sessions, [row]);
}

#[tokio::test]
async fn a_claim_binds_a_parked_instance_in_the_same_commit_as_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let (journal, _) = open(&path).unwrap();
    let row = row();
    let parked = InstanceRow {
        phase: InstancePhase::Parked,
        image: "sha256:0".to_owned(),
        ahead: Some(Ahead {
            recipe: "r".to_owned(),
            since: boot_now().unwrap(),
        }),
        ..instance(row.instance)
    };
    journal.instance(parked.clone()).await.unwrap();
    let claim = Under::Parked(row.instance);
    journal.order(row.clone(), claim, None).await.unwrap();
    let other = SessionRow {
        id: SessionId::random(),
        instance: InstanceId::random(),
        ..row.clone()
    };
    let gone = Under::Parked(other.instance);
    journal.order(other, gone, None).await.unwrap();
    drop(journal);
    let (_journal, known) = open(&path).unwrap();
    let bound = InstanceRow {
        phase: InstancePhase::Bound,
        ..parked
    };
    assert_eq!(
        known.instances,
        [bound],
        "and no row comes back from nowhere"
    );
    assert_eq!(known.sessions.len(), 2);
}

#[tokio::test]
async fn who_waits_for_a_boot_is_journalled_with_it_and_the_boot_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let (journal, _) = open(&path).unwrap();
    let row = row();
    let ahead = Ahead {
        recipe: "r".to_owned(),
        since: boot_now().unwrap(),
    };
    let boots = InstanceRow {
        ahead: Some(ahead),
        ..instance(row.instance)
    };
    journal.instance(boots.clone()).await.unwrap();
    let lease = LeaseRow {
        instance: row.instance,
        route: "pool-127.0.0.2".to_owned(),
        released: None,
    };
    let waits = Under::Booting(row.instance);
    let order = journal.order(row.clone(), waits, Some(lease.clone()));
    order.await.unwrap();
    drop(journal);
    let (_journal, known) = open(&path).unwrap();
    assert_eq!(known.sessions, [row]);
    assert_eq!((known.instances, known.leases), (vec![boots], vec![lease]));
}

#[tokio::test]
async fn many_writers_share_commits_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir.path().join("node.db")).unwrap();
    let rows: Vec<_> = (0..300).map(|_| ended(row(), wall_now())).collect();
    let all = rows.iter().map(|row| journal.session(row.clone()));
    for outcome in futures::future::join_all(all).await {
        outcome.unwrap();
    }
    assert_eq!(journal.ended(1000).await.unwrap().len(), rows.len());
    assert_eq!(journal.ended(10).await.unwrap().len(), 10);
}

#[tokio::test]
async fn only_old_endings_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir.path().join("node.db")).unwrap();
    let now = wall_now();
    let old = ended(row(), now - Duration::from_secs(7200));
    let fresh = ended(row(), now);
    for row in [row(), old.clone(), fresh.clone()] {
        journal.session(row).await.unwrap();
    }
    let hour_ago = now - Duration::from_secs(3600);
    assert_eq!(journal.prune(hour_ago, 100).await.unwrap(), 1);
    assert_eq!(journal.find(&old.id).await.unwrap(), None);
    assert_eq!(journal.find(&fresh.id).await.unwrap(), Some(fresh));
}

#[tokio::test]
async fn a_journal_of_the_first_version_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let old = row();
    let mut document = serde_json::to_value(&old).unwrap();
    let traffic = document["traffic"].as_object_mut().unwrap();
    traffic.remove("connections").unwrap();
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch(schema::STEPS[0]).unwrap();
    let written = "INSERT INTO sessions (id, phase, down, document) VALUES (?1, 'ready', 7, ?2)";
    let values = (old.id.as_str(), document.to_string());
    database.execute(written, values).unwrap();
    database.pragma_update(None, "user_version", 1).unwrap();
    drop(database);
    for connections in [0, 3] {
        let (journal, known) = open(&path).unwrap();
        let seen = Traffic {
            down: 7,
            connections,
            ..Traffic::default()
        };
        assert_eq!(known.sessions[0].traffic, seen);
        let more = Traffic {
            connections: 3,
            ..seen
        };
        journal.samples(vec![(old.id.clone(), more)]).await.unwrap();
    }
}

#[test]
fn a_journal_of_a_newer_version_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    drop(open(&path).unwrap());
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let error = open(&path).unwrap_err();
    assert!(error.to_string().contains("schema 99"), "{error}");
}

#[test]
fn the_second_agent_on_one_state_directory_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let held = StateLock::take(dir.path()).unwrap();
    let error = StateLock::take(dir.path()).unwrap_err();
    let pid = std::process::id().to_string();
    assert_matches::assert_matches!(&error, JournalError::Locked { pid: holder, .. } if *holder == pid);
    assert!(StateLock::is_held(dir.path()));
    drop(held);
    drop(StateLock::take(dir.path()).unwrap());
}
