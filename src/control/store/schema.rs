//! The tables, and the version that says which program may open them.

use rusqlite::Connection;

use super::StoreError;

/// Version of the tables below, kept in `PRAGMA user_version`.
const VERSION: i64 = 3;

/// As of version 1. Times are microseconds since 1970, reasons and states the public words.
pub(super) const TABLES: &str = "
CREATE TABLE workspace (
    name        TEXT PRIMARY KEY,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE api_key (
    hash        BLOB PRIMARY KEY,
    prefix      TEXT NOT NULL,
    workspace   TEXT NOT NULL REFERENCES workspace (name),
    created_at  INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT;

CREATE TABLE session (
    id             TEXT PRIMARY KEY,
    workspace      TEXT NOT NULL REFERENCES workspace (name),
    profile        TEXT NOT NULL,
    ttl_micros     INTEGER NOT NULL,
    status         TEXT NOT NULL CHECK (status IN ('creating', 'ready', 'closed', 'error')),
    reason         TEXT,
    device         TEXT,
    bytes_up       INTEGER NOT NULL DEFAULT 0,
    bytes_down     INTEGER NOT NULL DEFAULT 0,
    cdp_up         INTEGER NOT NULL DEFAULT 0,
    cdp_down       INTEGER NOT NULL DEFAULT 0,
    egress_ip      TEXT,
    egress_region  TEXT,
    created_at     INTEGER NOT NULL,
    ready_at       INTEGER,
    expires_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    failure        TEXT,
    billable       INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX session_by_age ON session (workspace, created_at DESC, id DESC);
CREATE INDEX session_live ON session (workspace, expires_at) WHERE ended_at IS NULL;
CREATE INDEX session_ended ON session (ended_at) WHERE ended_at IS NOT NULL;
";

/// From version 1 to 2: what an operator grants, as JSON; absent says nothing.
const POLICIES: &str = "
ALTER TABLE workspace ADD COLUMN policy TEXT;
ALTER TABLE api_key ADD COLUMN policy TEXT;
";

/// From version 2 to 3: connections that a session has made, beside its bytes.
const CONNECTIONS: &str = "
ALTER TABLE session ADD COLUMN connections INTEGER NOT NULL DEFAULT 0;
";

/// Makes the tables of a new database, brings those of an older program up to date,
/// and refuses those of a newer one.
pub(super) fn prepare(db: &mut Connection) -> Result<(), StoreError> {
    // A reader in another process (`chaser key list`) must not turn a write into an error.
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        0..VERSION => {
            for (step, from) in [(TABLES, 0), (POLICIES, 1), (CONNECTIONS, 2)] {
                if found <= from {
                    transaction.execute_batch(step)?;
                }
            }
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        VERSION => {}
        found => {
            return Err(StoreError::Version {
                found,
                known: VERSION,
            });
        }
    }
    transaction.commit()?;
    Ok(())
}
