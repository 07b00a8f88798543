//! Sessions whose route is lost for good, moved to another one of its region where that is allowed.
//!
//! Which may stand in is decided by [`crate::routes`], which is pure there; here it is done. A hold that was
//! moved before the agent died is found in the journal, and the session follows it.

use std::collections::HashSet;

use tracing::{info, warn};

use super::Node;
use crate::model::{Phase, SessionId};

/// Moves those sessions on `lost` that can be; answers which. Never waits for one of them.
pub(super) async fn move_off(node: &Node, lost: &[String]) -> HashSet<SessionId> {
    let mut moved = HashSet::new();
    if !node.inner.egress.config.failover {
        return moved;
    }
    let relay = &node.instances().tools().relay;
    for session in node.sessions().all() {
        let row = session.row();
        let Some(from) = row.held_route().filter(|route| lost.contains(route)) else {
            continue;
        };
        if row.phase != Phase::Ready {
            continue;
        }
        if let Err(lacks) = relay.can_reroute() {
            info!(session = %row.id, route = from, "not moved to another egress route: {lacks}");
            continue;
        }
        let taken = match node.routes().fail_over(&row, lost) {
            Ok(taken) => taken,
            Err(stays) => {
                info!(session = %row.id, route = from, "not moved to another egress route: {stays}");
                continue;
            }
        };
        // Held, then journalled, before anything leaves by it.
        if let Err(error) = node.journal().lease(taken.lease.clone()).await {
            warn!(session = %row.id, %error, "it cannot be written down that a session moves");
            continue;
        }
        let cause = format!("its egress route `{from}` is lost");
        session.reroute(taken, cause).await;
        moved.insert(row.id.clone());
    }
    moved
}
