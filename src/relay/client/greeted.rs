//! The relay that was greeted last, and what it can be asked for.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::RwLock;
use tracing::warn;

use super::{RelayError, Welcome};
use crate::{
    relay::{
        PROTOCOL,
        features::{self, Feature},
    },
    wire::relay as pb,
};

/// Shared by all copies of one client. Before the first greeting it understands nothing new.
#[derive(Debug, Clone, Default)]
pub(super) struct Greeted(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    relay_id: String,
    pid: u32,
    version: String,
    understands: BTreeSet<Feature>,
}

impl Greeted {
    /// Remembers who answered.
    ///
    /// # Errors
    /// [`RelayError::Protocol`]: nothing that it says can be relied on.
    pub(super) fn by(&self, answer: pb::HelloResponse) -> Result<Welcome, RelayError> {
        if answer.protocol > PROTOCOL || answer.protocol + 1 < PROTOCOL {
            return Err(RelayError::Protocol {
                theirs: answer.protocol,
                ours: PROTOCOL,
            });
        }
        let understands = features::read(&answer.features);
        let lacks = lacks(&understands);
        let mut known = self.0.write();
        if !lacks.is_empty() && known.relay_id != answer.relay_id {
            warn!(
                pid = answer.pid,
                version = answer.version,
                ?lacks,
                "the relay is older than this agent: orders that need what it lacks are refused \
                 until it is started again"
            );
        }
        *known = Known {
            relay_id: answer.relay_id.clone(),
            pid: answer.pid,
            version: answer.version.clone(),
            understands,
        };
        Ok(Welcome {
            relay_id: answer.relay_id,
            pid: answer.pid,
            version: answer.version,
            cdp_address: answer.cdp_address,
        })
    }

    /// Whether it understands all of `needs`.
    ///
    /// # Errors
    /// [`RelayError::Lacks`] names the first that it does not.
    pub(super) fn understands(&self, needs: &BTreeSet<Feature>) -> Result<(), RelayError> {
        let known = self.0.read();
        match needs.difference(&known.understands).next() {
            None => Ok(()),
            Some(feature) => Err(RelayError::Lacks {
                feature: *feature,
                pid: known.pid,
                version: known.version.clone(),
            }),
        }
    }

    /// Whether there is anything that it does not understand.
    pub(super) fn is_older(&self) -> bool {
        !lacks(&self.0.read().understands).is_empty()
    }
}

fn lacks(understands: &BTreeSet<Feature>) -> Vec<&'static str> {
    let missing = |one: &Feature| !understands.contains(one);
    let missing = Feature::ALL.into_iter().filter(missing);
    missing.map(Feature::word).collect()
}
