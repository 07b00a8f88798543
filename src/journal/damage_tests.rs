use std::{fs, path::Path};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::super::{
    Under, open,
    tests::{ended, instance, row},
};
use crate::{journal::Recovered, model::SessionId, runtime::wall_now};

/// A directory with a journal of live and ended sessions, as a `kill -9` leaves it.
async fn journal_of(sessions: usize, dir: &Path) -> Vec<SessionId> {
    let home = tempfile::tempdir().unwrap();
    let (journal, _) = open(&home.path().join("node.db")).unwrap();
    let mut live = Vec::new();
    for number in 0..sessions {
        let row = row();
        let order = journal.order(row.clone(), Under::Fresh(instance(row.instance)), None);
        order.await.unwrap();
        if number % 3 == 0 {
            journal.session(ended(row, wall_now())).await.unwrap();
        } else {
            live.push(row.id);
        }
    }
    for name in ["node.db", "node.db-wal", "node.id"] {
        fs::copy(home.path().join(name), dir.join(name)).unwrap();
    }
    live
}

fn truncate(path: &Path, to: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(to).unwrap();
}

/// Whether the journal says that it is another one now, and keeps what was there.
fn was_put_aside(known: &Recovered, original: &[u8]) -> bool {
    let Some(damage) = &known.damage else {
        return false;
    };
    let kept = damage.moved_to.as_ref().expect("there was a file");
    assert_eq!(fs::read(kept).unwrap().len(), original.len(), "{damage}");
    assert!(known.sessions.is_empty() && known.instances.is_empty());
    true
}

#[tokio::test]
async fn a_journal_cut_off_anywhere_is_put_aside_whole_or_says_what_it_still_knows() {
    let mut random = StdRng::seed_from_u64(5);
    let (mut aside, mut read) = (0, 0);
    for round in 0..50 {
        let dir = tempfile::tempdir().unwrap();
        let live = journal_of(40, dir.path()).await;
        let path = dir.path().join("node.db");
        if round % 2 == 0 {
            // Everything in the main file: as after a clean stop.
            let database = rusqlite::Connection::open(&path).unwrap();
            let fold = "PRAGMA wal_checkpoint(TRUNCATE)";
            database.query_row(fold, (), |_| Ok(())).unwrap();
            drop(database);
        }
        let torn = if round % 2 == 0 {
            path.clone()
        } else {
            dir.path().join("node.db-wal")
        };
        let whole = fs::metadata(&torn).unwrap().len();
        // The last bytes are the hardest to miss: every fifth cut takes a few only.
        let from = if round % 5 == 0 { whole - 64 } else { 0 };
        truncate(&torn, random.random_range(from..whole));
        let left = fs::read(&path).unwrap();
        let node = crate::journal::node_of(dir.path()).unwrap();

        let (_journal, known) = open(&path).unwrap();
        assert_eq!(Some(known.node), node, "the same node all the same");
        if was_put_aside(&known, &left) {
            aside += 1;
        } else {
            // A log that was cut off lost its last commits and nothing else.
            assert_eq!(round % 2, 1, "a torn file passed for a whole one");
            assert!(
                known
                    .sessions
                    .iter()
                    .all(|row| live.contains(&row.id) || row.ending.is_none())
            );
            read += 1;
        }
    }
    assert!(aside >= 20 && read > 0, "{aside} put aside, {read} read");
}

#[tokio::test]
async fn a_journal_that_is_gone_or_empty_or_scribbled_over_is_not_a_first_start() {
    for (name, hurt) in [
        ("gone", (|path| fs::remove_file(path).unwrap()) as fn(&Path)),
        ("empty", |path| fs::write(path, "").unwrap()),
        ("no database", |path| {
            fs::write(path, "x".repeat(9000)).unwrap()
        }),
        ("scribbled", |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle..].fill(0x5a);
            fs::write(path, bytes).unwrap();
        }),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.db");
        let (journal, first) = open(&path).unwrap();
        for _ in 0..40 {
            journal.session(row()).await.unwrap();
        }
        drop(journal);
        // The thread closes the database behind us, which folds its log into the file.
        while dir.path().join("node.db-wal").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        hurt(&path);
        let (journal, known) = open(&path).unwrap();
        let damage = known.damage.expect(name);
        assert_eq!(damage.moved_to.is_none(), name == "gone", "{damage}");
        assert_eq!(known.node, first.node);
        assert!(known.epoch > first.epoch, "{name}");
        // What is begun anew is a journal like any other.
        journal.session(row()).await.unwrap();
        drop(journal);
    }
}

#[test]
fn an_unreadable_row_is_damage_and_a_newer_journal_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    drop(open(&path).unwrap());
    let database = rusqlite::Connection::open(&path).unwrap();
    let insert = "INSERT INTO instances (id, document) VALUES ('x', '{')";
    database.execute(insert, ()).unwrap();
    drop(database);
    let (journal, known) = open(&path).unwrap();
    assert!(known.damage.is_some());
    drop(journal);
}
