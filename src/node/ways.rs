//! The node's egress routes in operation: watched, shown, drained, reloaded.
//!
//! The relay counts what connections by way of upstreams come to; once a second that is put to the
//! routes' account ([`crate::routes::Health`]). A route that something speaks against is looked at every few
//! seconds, also where no page tries; with `egress.probe_url` every upstream is, now and then, which
//! also tells the address that origins see. Nothing of this is on the way of an order.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Node, NodeError};
use crate::{
    relay::{Way, client::Look},
    routes::Refused,
};

/// Between two counts.
const COUNT: Duration = Duration::from_secs(1);
/// Between two looks at a route that ails.
const LOOK: Duration = Duration::from_secs(3);
/// Looks at once.
const AT_ONCE: usize = 8;

/// Counts and looks until the process stops.
pub(super) async fn run(node: Node, stop: CancellationToken) {
    let work = async {
        tokio::join!(count(&node), look_at_the_ailing(&node), look_at_all(&node));
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

async fn count(node: &Node) {
    loop {
        tokio::time::sleep(COUNT).await;
        match node.instances().tools().relay.tally().await {
            Ok(tallies) => node.routes().tallied(tallies),
            Err(error) => debug!(%error, "the relay does not tell what connections came to"),
        }
    }
}

async fn look_at_the_ailing(node: &Node) {
    loop {
        tokio::time::sleep(LOOK).await;
        look_at(node, node.routes().ailing()).await;
    }
}

async fn look_at_all(node: &Node) {
    let interval = node.inner.egress.config.probe_interval;
    loop {
        if !probe_url(node).is_empty() {
            look_at(node, node.routes().upstreams()).await;
        }
        tokio::time::sleep(interval).await;
    }
}

fn probe_url(node: &Node) -> &str {
    &node.inner.egress.config.probe_url
}

async fn look_at(node: &Node, routes: Vec<(String, Way)>) {
    stream::iter(routes)
        .for_each_concurrent(AT_ONCE, |(name, way)| async move {
            match node.look(&name, &way).await {
                Ok(look) => debug!(route = name, ?look, "looked at"),
                Err(error) => debug!(route = name, %error, "not looked at"),
            }
        })
        .await;
}

impl Node {
    async fn look(&self, name: &str, way: &Way) -> Result<Look, NodeError> {
        let url = probe_url(self);
        let look = self.instances().tools().relay.probe(way, url).await?;
        self.routes().looked(name, &look, !url.is_empty());
        Ok(look)
    }

    /// Looks whether a route works, now; how long it took is in the answer.
    ///
    /// # Errors
    /// [`NodeError::UnknownRoute`] among others.
    pub async fn check_route(&self, name: &str) -> Result<(Look, Duration), NodeError> {
        let way = self.routes().way_to_look(name);
        let way = way.ok_or_else(|| unknown(name))?;
        let began = Instant::now();
        Ok((self.look(name, &way).await?, began.elapsed()))
    }

    /// Takes a route out of service, or `back`: nobody new is given it, who has it keeps it. Remembered
    /// across restarts of the agent.
    ///
    /// # Errors
    /// [`NodeError::UnknownRoute`], and [`Refused`] where it cannot be written down: nothing changes then.
    pub fn drain_route(&self, name: &str, back: bool) -> Result<(), NodeError> {
        if self.routes().named(name).is_none() {
            return Err(unknown(name));
        }
        self.inner.egress.drain(name, back)?;
        if !self.routes().drain(name, back) {
            return Err(unknown(name));
        }
        info!(route = name, back, "egress route drained");
        Ok(())
    }

    /// Reads all routes again, and the names that pages may not reach: those hold for every session from
    /// its next connection on. Sessions keep their routes. Answers how many there are.
    ///
    /// # Errors
    /// [`Refused`] by the first thing that is wrong: then nothing changes.
    pub async fn reload_routes(&self) -> Result<usize, NodeError> {
        let egress = &self.inner.egress;
        let read = || Ok((egress.all()?, egress.config.denied_hosts()?));
        let (routes, denied) = read().inspect_err(|refused: &Refused| {
            warn!(%refused, "the egress routes stay as they are");
        })?;
        let count = routes.len();
        info!(
            routes = count,
            names = denied.lines().count(),
            "egress routes read again"
        );
        self.routes().replace(routes);
        self.inner.denied_hosts.send_replace(denied);
        if let Err(error) = self.tell_relay(Vec::new()).await {
            warn!(%error, "the relay does not know the denied names yet: it is told when it is back");
        }
        Ok(count)
    }

    /// Adds these tables to what is written down in the state directory; answers the new names.
    ///
    /// # Errors
    /// [`Refused`] by the first thing that is wrong: then nothing changes.
    pub fn add_routes(&self, tables: &str) -> Result<Vec<String>, NodeError> {
        let (all, names) = self.inner.egress.add(tables)?;
        info!(routes = ?names, "egress routes added");
        self.routes().replace(all);
        Ok(names)
    }

    /// Takes out what was added under this name; who holds it keeps it.
    ///
    /// # Errors
    /// [`NodeError::UnknownRoute`] also for what stands in the operator's own file.
    pub fn remove_route(&self, name: &str) -> Result<(), NodeError> {
        let left = self.inner.egress.remove(name)?;
        self.routes().replace(left.ok_or_else(|| unknown(name))?);
        info!(route = name, "egress route removed");
        Ok(())
    }
}

fn unknown(name: &str) -> NodeError {
    NodeError::UnknownRoute {
        name: name.to_owned(),
    }
}

impl From<Refused> for NodeError {
    fn from(refused: Refused) -> Self {
        Self::Routes(Box::new(refused))
    }
}
