//! The control plane behind `api::rest`: workspaces, keys, limits, session records.
//!
//! ```text
//!   REST ──▶ Control ──▶ Store (control.db: the record is durable first)
//!               │
//!               └──────▶ Node (gRPC, R/node.sock) ──▶ Provision, Teardown, GetSession
//!   follower ◀── Watch ──┘      news are folded into the records; a gap is filled by listing
//! ```
//!
//! It speaks to nodes through their gRPC interface only, also inside one process, so one machine and
//! a fleet run the same code. A record is what the owner sees; the node is the truth about what runs.

mod config;
mod cursor;
mod key;
mod limit;
mod record;
mod store;
mod workspace;

pub use config::Config;
pub use cursor::{Cursor, InvalidCursor};
pub use key::{ApiKey, InvalidKey, KeyHash};
pub use limit::{Exceeded, Limits};
pub use record::{Record, Sighting, Status};
pub use store::{Change, KeyEntry, Page, Store, StoreError};
pub use workspace::{InvalidWorkspace, Workspace};
