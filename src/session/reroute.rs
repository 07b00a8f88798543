//! Another route under a session that lives: journal, act, publish, as with everything that it does.

use tracing::{info, warn};

use super::{
    Ground, What,
    create::claim,
    driver::{Driver, Stopped},
    end::Asked,
    machine::State,
};
use crate::{model::EndReason, relay::client::Bind, routes::Taken};

impl<G: Ground> Driver<G> {
    /// From now on it leaves by `to`, which it holds. Nothing where it does so already, or where it is on
    /// its way to its end. Connections that are open are not touched: they were by way of what is lost.
    pub(super) async fn reroute(&mut self, to: Taken, cause: String) -> Result<(), Stopped> {
        let from = self.row.held_route().unwrap_or_default();
        let route = to.lease.route;
        if self.state != State::Ready || from == route {
            return Ok(());
        }
        self.row.route = Some(route.clone());
        self.row.egress = to.exit_ip;
        self.row.region = to.region;
        self.write().await?;
        let way = match self.ground.way(&self.row) {
            Ok(way) => way,
            Err(lost) => {
                let asked = Asked::because(EndReason::SubstrateDown, lost.to_string());
                return self.finish(asked).await;
            }
        };
        let bind = Bind {
            reroute: true,
            ..claim(&self.row, Some(way))
        };
        // A relay that is away is given it when it is back: what is bound again is what was journalled.
        if let Err(error) = self.ground.reroute(self.row.instance, bind).await {
            warn!(session = %self.row.id, %error, "the relay does not know of the other route yet");
        }
        info!(session = %self.row.id, from, route, cause, "moved to another egress route");
        self.hub.publish(What::Rerouted {
            session: self.row.id.clone(),
            from,
            to: route,
            cause,
        });
        self.publish();
        Ok(())
    }
}
