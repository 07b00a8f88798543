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
mod counts;
mod cursor;
mod error;
#[cfg(test)]
pub(crate) mod fake;
pub mod follow;
mod key;
mod limit;
mod node;
mod order;
mod plane;
mod policy;
mod record;
mod store;
mod token;
mod workspace;

pub use config::Config;
pub use counts::Counts;
pub use cursor::{Cursor, InvalidCursor};
pub use error::ControlError;
pub use key::{ApiKey, InvalidKey, KeyHash};
pub use limit::{Exceeded, Limits};
pub use node::{News, Node, NodeError, Torn, wish_to_wire};
pub use order::Order;
pub use plane::{Caller, Control, Parts};
pub use policy::{InvalidPolicy, Policy};
pub use record::{Live, Record, Sighting, Status};
pub use store::{Change, KeyEntry, Page, Store, StoreError, WorkspaceEntry};
pub use token::Tokens;
pub use workspace::{InvalidWorkspace, Workspace};

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
