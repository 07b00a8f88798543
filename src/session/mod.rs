//! Customers' holds on instances.
//!
//! ```text
//!            Provisioned             End(asked)            Cut(won)
//! Creating ─────────────▶ Ready ─────────────▶ Closing ─────────────▶ Ended(won, bytes)
//!     └─────────── End / Failed ─────────────────▲    first reason wins, the arbiter says which
//! ```
//!
//! One driver task owns each session; everybody else holds a mailbox and a `watch` ([`Session`]).
//! What may happen is decided by [`machine`]. From `Bind` on the relay is the arbiter of the end: the
//! driver journals what was asked, asks the relay, journals what won, publishes, answers. `Ended`
//! means that traffic is cut and the bytes are final; removing the container is the instance's
//! business and nobody waits for it here.

mod create;
mod driver;
mod end;
mod error;
mod grant;
mod ground;
mod high_water;
mod hub;
pub mod machine;
mod meters;
mod registry;
mod reroute;
mod snapshot;
mod tally;

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::sync::oneshot;

pub use create::{claim, expected};
pub use error::Denied;
pub use grant::{Given, Grant};
pub use ground::{Ground, Host};
pub use hub::Hub;
pub use meters::{Meters, Moved, Told};
pub use registry::{Session, Sessions};
pub use snapshot::{Event, Item, SlotChange, Snapshot, Usage, What};
pub use tally::{Carried, Tally};

use crate::{
    instance::Autopsy,
    journal::SessionRow,
    model::{Blame, Ending},
    routes::Taken,
};

/// `[session]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Without a CDP connection for this long a session ends, unless its order says otherwise.
    #[serde(with = "crate::model::duration")]
    pub idle_timeout: Duration,
    /// How long ended sessions stay in the node's journal.
    #[serde(with = "crate::model::duration")]
    pub retention: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(300),
            retention: Duration::from_secs(24 * 3600),
        }
    }
}

/// Why the node ends a session, beyond the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// What was seen, in a sentence for operators.
    pub saw: String,
    /// Whose fault it is.
    pub blame: Blame,
    /// Whether the node's event for it is out already: then the session adds none of its own.
    pub told: bool,
}

impl Cause {
    /// What was found out about a death.
    #[must_use]
    pub fn found(autopsy: Autopsy) -> Self {
        Self {
            saw: autopsy.saw,
            blame: autopsy.blame,
            told: false,
        }
    }
}

/// How an order to end a session came out.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The session, ended.
    pub row: Arc<SessionRow>,
    /// Whether it ended because of this order.
    pub won: bool,
}

/// What can be asked of a driver.
#[derive(Debug)]
enum Order {
    End(end::Asked),
    Cut(Ending, Option<Cause>, oneshot::Sender<()>),
    Reroute(Taken, String),
}

#[cfg(test)]
mod tests;
