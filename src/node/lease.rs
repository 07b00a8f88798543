//! The control plane's lease on this node, and the fence behind it.
//!
//! Off by default (`node.fence`): a control plane that is away must not stop every customer. What was
//! granted last is in the journal, so that neither a restart nor an owner from before is mistaken for
//! a renewal; the fence itself is the relay's, which keeps it whether or not an agent runs.

use std::{collections::HashSet, time::Duration};

use time::OffsetDateTime;
use tracing::{info, warn};

use super::{Node, NodeError};
use crate::{
    model::{Grant, Lease, SessionId},
    runtime::{boot_now, wall_now},
};

/// The lease as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseStatus {
    /// The owner's epoch.
    pub epoch: u64,
    /// When it runs out, for display.
    pub expires_at: OffsetDateTime,
    /// Whether egress is suspended because it was not renewed.
    pub suspended: bool,
}

impl Node {
    /// The caller owns this node for `ttl` more. A new owner (a larger epoch) may name the sessions that
    /// it knows; the rest is disowned as by [`Node::reconcile`].
    ///
    /// # Errors
    /// [`NodeError::OldLease`] for an owner that was replaced; [`NodeError::Journal`] and
    /// [`NodeError::Relay`]: the lease is not renewed.
    pub async fn renew_lease(
        &self,
        epoch: u64,
        ttl: Duration,
        owned: Option<(HashSet<SessionId>, Option<Duration>)>,
    ) -> Result<LeaseStatus, NodeError> {
        let held = *self.inner.lease.borrow();
        let lease = match Lease::grant(held, epoch, ttl, boot_now()?) {
            Grant::Outdated { known } => return Err(NodeError::OldLease { epoch, known }),
            Grant::Same(lease) => lease,
            Grant::Newer(lease) => {
                warn!(epoch, before = held.map(|held| held.epoch), "another owner");
                lease
            }
        };
        let fresh = held.is_none_or(|held| held.epoch != epoch);
        if fresh && let Some((owned, grace)) = owned {
            let ownership = self.reconcile(&owned, grace)?;
            info!(disowned = ownership.disowned.len(), "what the owner knows");
        }
        self.journal().lease_granted(lease, fresh).await?;
        self.inner.lease.send_replace(Some(lease));
        self.fence().await?;
        self.lease_status().ok_or(NodeError::Stopping)
    }

    /// Tells the relay until when egress is open, where there is a fence and a lease.
    pub(super) async fn fence(&self) -> Result<(), NodeError> {
        let lease = *self.inner.lease.borrow();
        match lease {
            Some(lease) if self.inner.config.fence => {
                let relay = &self.instances().tools().relay;
                Ok(relay.fence(lease.fence).await?)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The lease as it stands; `None` when none was ever granted.
    #[must_use]
    pub fn lease_status(&self) -> Option<LeaseStatus> {
        let lease = (*self.inner.lease.borrow())?;
        let now = boot_now().ok()?;
        Some(LeaseStatus {
            epoch: lease.epoch,
            expires_at: wall_now() + lease.expires.until(now).unwrap_or_default(),
            suspended: self.inner.config.fence && lease.has_lapsed(now),
        })
    }
}
