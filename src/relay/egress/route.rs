//! The way out of a session with what is made of it once, on its first use.

use std::sync::{Arc, OnceLock};

use tokio::sync::{OnceCell, watch};
use tokio_rustls::rustls::ClientConfig;

use super::{
    account::Account,
    hosts::Count,
    ration::Ration,
    refusal::{Reason, Refusal},
    resolver::Resolver,
};
use crate::{
    model::InstanceId,
    relay::{Way, meter::Meter},
};

/// A way out with what is made of it once.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) way: Way,
    /// What the session may take; `None` is anything.
    pub(super) ration: Option<Arc<Ration>>,
    pub(super) tls: OnceCell<Arc<ClientConfig>>,
    /// The route's own, where it names its name servers; made with its first look-up.
    resolver: OnceLock<Arc<Resolver>>,
}

impl Route {
    pub(super) fn new(way: Way) -> Self {
        Self {
            way,
            ration: None,
            tls: OnceCell::new(),
            resolver: OnceLock::new(),
        }
    }

    /// The same with its limits at work: `spent` turns true with the last byte of a quota.
    pub(super) fn rationed(instance: InstanceId, way: Way, spent: watch::Sender<bool>) -> Self {
        let ration = Ration::new(instance, way.limits, spent);
        Self {
            ration,
            ..Self::new(way)
        }
    }

    /// Who looks names up for it, where `node` does for all others.
    pub(super) fn resolver(&self, node: &Arc<Resolver>) -> Result<Arc<Resolver>, Refusal> {
        let own = &self.way.nameservers;
        if own.is_empty() {
            return Ok(Arc::clone(node));
        }
        if let Some(made) = self.resolver.get() {
            return Ok(Arc::clone(made));
        }
        let made = Resolver::from(own, self.way.source)
            .map_err(|error| Refusal::new(Reason::NoRoute, format!("its name servers: {error}")))?;
        Ok(Arc::clone(self.resolver.get_or_init(|| Arc::new(made))))
    }

    /// On whose account its next connection is.
    pub(super) fn account(
        &self,
        meter: &Arc<Meter>,
        host: Option<Arc<Count>>,
    ) -> Result<Account, Refusal> {
        let share = self.ration.as_ref().map(Ration::enter).transpose()?;
        Ok(Account {
            meter: Arc::clone(meter),
            share,
            host,
        })
    }
}
