//! The way out that a new session is given, if the relay that runs can be told of it.
//!
//! A relay lives on over upgrades of its agent and skips what it does not understand
//! ([`crate::relay::Feature`]): an order that needs more is refused while nothing has been made of it.

use super::{Node, NodeError};
use crate::{
    journal::SessionRow,
    model::{InstanceId, Substrate},
    routes::Taken,
};

impl Node {
    /// Takes a route for `instance`, which is about to serve `order`.
    ///
    /// # Errors
    /// [`NodeError::Route`], and [`NodeError::Relay`] with what the relay lacks: nothing is taken then.
    pub(super) fn lead(
        &self,
        instance: InstanceId,
        order: &SessionRow,
    ) -> Result<Option<Taken>, NodeError> {
        let relay = &self.instances().tools().relay;
        let taken = self.routes().take(instance, &order.spec.egress)?;
        if relay.is_older() {
            let led = SessionRow {
                route: taken.as_ref().map(|taken| taken.lease.route.clone()),
                ..order.clone()
            };
            let on_device = order.spec.substrate != Substrate::Chromium;
            // A way that is lost already is told to whoever binds.
            let way = self.routes().way(&led).unwrap_or_default();
            if let Err(lacks) = relay.can_serve(&way, on_device) {
                self.routes().put_back(instance);
                return Err(lacks.into());
            }
        }
        Ok(taken)
    }
}
