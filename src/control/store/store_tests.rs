use std::{collections::BTreeSet, time::Duration};

use assert_matches::assert_matches;
use time::OffsetDateTime;

use super::*;
use crate::{
    control::{ApiKey, Limits, Policy, Record, Sighting, Status, Workspace},
    model::{EndReason, Phase, SessionId, Traffic},
};

const FREE: Limits = Limits {
    concurrent: 0,
    per_minute: 0,
};

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("control.db")).unwrap();
    (dir, store)
}

fn order(workspace: &Workspace, at: i64) -> NewSession {
    NewSession {
        id: SessionId::random(),
        workspace: workspace.clone(),
        profile: "default".to_owned(),
        ttl: Duration::from_secs(60),
        created_at: OffsetDateTime::from_unix_timestamp(at).unwrap(),
    }
}

fn news(record: &Record, phase: Phase, up: u64) -> Sighting {
    let ended = phase == Phase::Ended;
    Sighting {
        id: record.id.clone(),
        phase,
        reason: ended.then_some(EndReason::TtlExpired),
        failure: None,
        device: Some("Android 10 - Chrome 156 (Mobile)".to_owned()),
        traffic: Traffic {
            up,
            down: 2 * up,
            cdp_up: 3,
            cdp_down: 4,
            connections: 5,
        },
        egress_ip: Some("192.0.2.1".to_owned()),
        egress_region: None,
        ready_at: Some(record.created_at + Duration::from_micros(1_234_567)),
        ended_at: ended.then_some(record.created_at + Duration::from_secs(60)),
        billable: true,
    }
}

#[tokio::test]
async fn nobody_else_may_read_the_session_ids() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.db");
    // As a program before this rule, or a copied backup, leaves it.
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let store = Store::open(&path).unwrap();
    store
        .admit(order(&Workspace::standard(), 1_000), FREE)
        .await
        .unwrap();
    let files: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap())
        .collect();
    assert!(files.len() > 1, "the write-ahead log is there");
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.path().display());
    }
}

#[tokio::test]
async fn a_record_survives_a_restart_whole() {
    let (dir, store) = open();
    let record = store
        .admit(order(&Workspace::standard(), 1_000), FREE)
        .await
        .unwrap();
    let change = store
        .observe(news(&record, Phase::Ended, 7))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(change.before, record);
    assert_eq!(change.after.status, Status::Closed(EndReason::TtlExpired));
    drop(store);
    let store = Store::open(&dir.path().join("control.db")).unwrap();
    assert_eq!(
        store.record(&record.id).await.unwrap(),
        Some(change.after.clone())
    );
    let late = store.observe(news(&record, Phase::Ready, 9)).await;
    assert_eq!(late.unwrap().unwrap().after, change.after);
    let unknown = Record {
        id: SessionId::random(),
        ..record
    };
    assert_matches!(
        store.observe(news(&unknown, Phase::Ready, 9)).await,
        Ok(None)
    );
    assert!(store.live().await.unwrap().is_empty());
}

#[tokio::test]
async fn pages_are_stable_while_sessions_are_created() {
    let (_dir, store) = open();
    let workspace = Workspace::standard();
    let mut made = BTreeSet::new();
    for at in [10, 10, 10, 11, 12, 13, 13] {
        made.insert(store.admit(order(&workspace, at), FREE).await.unwrap().id);
    }
    let other: Workspace = "other".parse().unwrap();
    store.admit(order(&other, 11), FREE).await.unwrap();
    let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store.page(&workspace, 2, cursor).await.unwrap();
        seen.extend(page.records);
        pages += 1;
        // What is created meanwhile is newer than every page that is still to come.
        store
            .admit(order(&workspace, 20 + pages), FREE)
            .await
            .unwrap();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, 4);
    assert!(seen.is_sorted_by(|a, b| a.created_at >= b.created_at));
    assert_eq!(
        seen.into_iter().map(|r| r.id).collect::<BTreeSet<_>>(),
        made
    );
}

#[tokio::test]
async fn limits_hold_per_workspace_and_an_end_frees_a_slot() {
    let (_dir, store) = open();
    let (mine, yours) = (Workspace::standard(), "yours".parse().unwrap());
    let limits = Limits {
        concurrent: 2,
        per_minute: 3,
    };
    let first = store.admit(order(&mine, 0), limits).await.unwrap();
    store.admit(order(&mine, 1), limits).await.unwrap();
    assert_matches!(
        store.admit(order(&mine, 2), limits).await,
        Err(StoreError::Exceeded(Exceeded::Concurrent { limit: 2, .. }))
    );
    store.admit(order(&yours, 2), limits).await.unwrap();
    store.observe(news(&first, Phase::Ended, 0)).await.unwrap();
    let third = store.admit(order(&mine, 3), limits).await.unwrap();
    store.discard(&third.id).await.unwrap();
    let third = store.admit(order(&mine, 3), limits).await.unwrap();
    store.observe(news(&third, Phase::Ended, 0)).await.unwrap();
    let wait = Duration::from_secs(56);
    assert_matches!(
        store.admit(order(&mine, 4), limits).await,
        Err(StoreError::Exceeded(Exceeded::Rate { limit: 3, retry_after })) if retry_after == wait
    );
    store.admit(order(&mine, 61), limits).await.unwrap();
}

#[tokio::test]
async fn the_sweep_forgets_old_ends_and_nothing_live() {
    let (_dir, store) = open();
    let workspace = Workspace::standard();
    let old = store.admit(order(&workspace, 0), FREE).await.unwrap();
    store.observe(news(&old, Phase::Ended, 1)).await.unwrap();
    let live = store.admit(order(&workspace, 0), FREE).await.unwrap();
    let before = old.created_at + Duration::from_secs(61);
    assert_eq!(store.sweep(before, 0).await.unwrap(), 0);
    assert_eq!(store.sweep(before, 10).await.unwrap(), 1);
    assert_eq!(store.record(&old.id).await.unwrap(), None);
    assert_eq!(store.live().await.unwrap(), vec![live]);
}

#[tokio::test]
async fn a_key_opens_its_workspace_until_it_is_revoked() {
    let (dir, store) = open();
    let (key, workspace) = (ApiKey::random(), "team-a".parse().unwrap());
    assert!(!store.has_keys().await.unwrap());
    let none = Policy::default();
    store.add_key(&key, &workspace, &none).await.unwrap();
    let caller = store.caller(key.hash()).await.unwrap().unwrap();
    assert_eq!(caller.workspace, workspace);
    let stranger = ApiKey::random().hash();
    assert_eq!(store.caller(stranger).await.unwrap(), None);
    assert_eq!(store.keys().await.unwrap()[0].prefix, key.prefix());
    assert_eq!(store.revoke_keys(&key.prefix()).await.unwrap(), 1);
    assert_eq!(store.caller(key.hash()).await.unwrap(), None);
    assert!(!store.has_keys().await.unwrap());
    // At rest there is no trace of the key but its prefix and hash.
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let secret = key.expose().as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

#[tokio::test]
async fn a_callers_policies_are_its_workspaces_and_its_keys() {
    let (_dir, store) = open();
    let policy = |text| Policy::from_toml(text).unwrap();
    let (key, workspace): (_, Workspace) = (ApiKey::random(), "team-a".parse().unwrap());
    let of_key = policy("[limits]\nconnections = 3");
    store.add_key(&key, &workspace, &of_key).await.unwrap();
    let of_all = policy("[never]\nhosts = [\"ads.test\"]\nports = [22]");
    store.set_policy(&workspace, &of_all).await.unwrap();
    let caller = store.caller(key.hash()).await.unwrap().unwrap();
    assert_eq!(caller.policies, [of_all.clone(), of_key]);
    assert_eq!(store.policy(&workspace).await.unwrap(), of_all);
    let listed = store.workspaces().await.unwrap();
    assert_eq!((&*listed[0].name, listed[0].keys), ("team-a", 1));
    let nobody = "nobody".parse().unwrap();
    assert!(store.policy(&nobody).await.unwrap().is_empty());
    store
        .set_policy(&workspace, &Policy::default())
        .await
        .unwrap();
    assert!(store.policy(&workspace).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_lets_nobody_in() {
    let (dir, store) = open();
    let (key, workspace) = (ApiKey::random(), Workspace::standard());
    let none = Policy::default();
    store.add_key(&key, &workspace, &none).await.unwrap();
    let db = Connection::open(dir.path().join("control.db")).unwrap();
    db.execute("UPDATE workspace SET policy = '{\"limit\": 1}'", [])
        .unwrap();
    let unreadable = store.caller(key.hash()).await;
    assert_matches!(unreadable, Err(StoreError::Unreadable { what: "policy" }));
}

#[tokio::test]
async fn the_database_of_the_program_before_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.db");
    let key = ApiKey::random();
    let db = Connection::open(&path).unwrap();
    db.execute_batch(schema::TABLES).unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
    let written = "INSERT INTO workspace VALUES ('team-a', 1);
        INSERT INTO api_key VALUES (x'00', 'sk_old', 'team-a', 1, NULL);
        INSERT INTO session (id, workspace, profile, ttl_micros, status, bytes_up, created_at, expires_at)
            VALUES ('sess_019ec0d0-a88a-73f2-9741-8030dc82a854', 'team-a', 'default', 1, 'creating', 7, 1, 2);";
    db.execute_batch(written).unwrap();
    let row = "UPDATE api_key SET hash = ?1";
    db.execute(row, rusqlite::params![key.hash()]).unwrap();
    drop(db);
    for _opened_again in 0..2 {
        let store = Store::open(&path).unwrap();
        let caller = store.caller(key.hash()).await.unwrap().unwrap();
        assert_eq!(caller.workspace.as_str(), "team-a");
        assert!(caller.policies.iter().all(Policy::is_empty));
        let id = "sess_019ec0d0-a88a-73f2-9741-8030dc82a854".parse().unwrap();
        let session = store.record(&id).await.unwrap().unwrap();
        let moved = Traffic {
            up: 7,
            ..Traffic::default()
        };
        assert_eq!(session.traffic, moved);
    }
}

#[tokio::test]
async fn the_database_of_a_newer_program_is_refused() {
    let (dir, store) = open();
    drop(store);
    let path = dir.path().join("control.db");
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    assert_matches!(
        Store::open(&path),
        Err(StoreError::Version { found: 99, .. })
    );
}
