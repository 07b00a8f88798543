//! What an order was given, and what its session stands on from then on.

use crate::{
    instance::Phone,
    journal::{InstanceRow, SessionRow, Under},
    model::InstanceId,
    routes::Taken,
};

/// What an order was given.
#[derive(Debug, Default)]
pub struct Grant {
    /// A route; `None` stands for the host's default, or the client's own proxy.
    pub route: Option<Taken>,
    /// What stands for it already.
    pub given: Given,
}

/// What of an instance an order finds.
#[derive(Debug, Default)]
pub enum Given {
    /// Nothing: one is made under the row's id.
    #[default]
    Nothing,
    /// One that is parked, and what it is.
    Parked(InstanceId, Phone),
    /// One that is on its way up.
    Booting(InstanceId),
}

impl Given {
    /// Writes into the row what it says of the instance.
    pub(super) fn enter(self, row: &mut SessionRow) -> Under {
        match self {
            Self::Nothing => {
                let profile = row.spec.profile.clone();
                let instance = InstanceRow::new(row.instance, profile, None);
                Under::Fresh(instance.on(row.spec.substrate))
            }
            Self::Parked(instance, phone) => {
                row.instance = instance;
                row.device = Some(phone.device);
                row.browser_version = Some(phone.version);
                row.capabilities = phone.capabilities;
                Under::Parked(instance)
            }
            Self::Booting(instance) => {
                row.instance = instance;
                Under::Booting(instance)
            }
        }
    }
}
