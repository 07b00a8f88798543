//! Whether what is parked is still good: as the relay and Docker say.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures::future::join_all;
use tokio::time::timeout;
use tracing::{debug, info};

use super::{Kind, Pool, Retired, Slot};
use crate::{
    instance::{Instance, Phone},
    journal::InstanceRow,
    model::{InstanceId, InstancePhase, Traffic},
    node::Node,
    relay::client::{Held, Inventory},
    session::SlotChange,
};

/// How long handing one to a new relay may take; a browser that is that slow is not worth it.
const REATTACH: Duration = Duration::from_secs(10);

/// What the relay says of a parked instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Attached, supervised, with a page, nobody's.
    Good,
    /// The relay does not hold it.
    Unknown,
    /// It was a session's.
    Used,
    /// Nothing supervises it, or its page is gone.
    Bare,
}

fn standing(held: Option<&Held>) -> Standing {
    match held {
        None => Standing::Unknown,
        Some(held) if held.session.is_some() => Standing::Used,
        Some(held) if !held.supervised => Standing::Bare,
        Some(_) => Standing::Good,
    }
}

/// Asks both once, and takes down what is not good any more.
pub(super) async fn look(node: &Node, pool: &Pool) {
    learn_images(node, pool).await;
    let tools = node.instances().tools();
    let inventory = match tools.relay.list().await {
        Ok(inventory) => inventory,
        Err(error) => {
            debug!(%error, "the relay cannot be asked for what is parked");
            pool.inner.state.lock().shelf.doubt();
            return;
        }
    };
    let held = by_id(&inventory);
    let slots = pool.inner.state.lock().shelf.all().to_vec();
    let (mut lost, mut bad) = (Vec::new(), Vec::new());
    for slot in slots {
        match standing(held.get(&slot.id).copied()) {
            Standing::Good => pool.inner.state.lock().shelf.prove(slot.id),
            Standing::Unknown => lost.push(slot),
            Standing::Used | Standing::Bare => bad.push(slot),
        }
    }
    let again = lost.iter().map(|slot| reattach(node, slot.id));
    let again = join_all(again).await;
    let mut state = pool.inner.state.lock();
    for (slot, again) in lost.into_iter().zip(again) {
        if again {
            state.shelf.prove(slot.id);
        } else {
            bad.push(slot);
        }
    }
    for slot in bad {
        // Who took it meanwhile is refused by the relay.
        if let Some(slot) = state.shelf.remove(slot.id) {
            state.leaving.push((slot, Retired::Decayed));
        }
    }
}

fn by_id(inventory: &Inventory) -> HashMap<InstanceId, &Held> {
    let held = inventory.held.iter();
    held.map(|held| (held.instance, held)).collect()
}

/// A relay that was started again is given what the last one had.
async fn reattach(node: &Node, id: InstanceId) -> bool {
    let Some(instance) = node.instances().get(id) else {
        return false;
    };
    match timeout(REATTACH, instance.reattach(Traffic::default())).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            debug!(instance = %id, %error, "not attached again");
            false
        }
        Err(_slow) => false,
    }
}

/// What the configured names of the images mean now; where Docker does not say, what they meant.
async fn learn_images(node: &Node, pool: &Pool) {
    let tools = node.instances().tools();
    let kept: HashSet<_> = pool
        .inner
        .kept
        .iter()
        .map(|kept| kept.kind.substrate)
        .collect();
    for substrate in kept {
        let device = tools.devices.settled(substrate);
        let name = device.map_or_else(|| tools.config.image.clone(), |of| of.device.image);
        match tools.docker.image(&name).await {
            Ok(Some(image)) => {
                let mut state = pool.inner.state.lock();
                let before = state.images.insert(substrate, image.id.clone());
                if before.as_ref() != Some(&image.id) {
                    debug!(%substrate, image = image.id, "what is parked is to run this image");
                }
            }
            Ok(None) => debug!(image = name, "no such image"),
            Err(error) => debug!(%error, "Docker cannot be asked for an image"),
        }
    }
}

/// What becomes of an instance that an earlier agent had parked.
fn adoptable(
    row: &InstanceRow,
    recipe: Option<&str>,
    held: Option<&Held>,
    led: bool,
) -> Result<(), &'static str> {
    let Some(ahead) = &row.ahead else {
        return Err("it was made for a session");
    };
    if row.phase != InstancePhase::Parked {
        return Err("it never was parked, or is a session's");
    }
    if led {
        return Err("it was booted to its end for a session, whose route it has");
    }
    if recipe != Some(&ahead.recipe) {
        return Err("its profile, its limits or the program are others now");
    }
    match standing(held) {
        Standing::Good => Ok(()),
        Standing::Unknown => Err("the relay does not hold it"),
        Standing::Used => Err("a session had it"),
        Standing::Bare => Err("nothing supervises it"),
    }
}

/// Takes over what an earlier agent had parked, where it is as good as new; answers the rest, which is
/// to be destroyed. `rows` are those that belong to no session, and those that are `led` have a route.
pub(in crate::node) async fn adopt(
    node: &Node,
    rows: Vec<InstanceRow>,
    relay: Option<&Inventory>,
    led: &HashSet<InstanceId>,
) -> Vec<InstanceRow> {
    let pool = node.pool();
    learn_images(node, pool).await;
    let held = relay.map(by_id).unwrap_or_default();
    let mut rest = Vec::new();
    for row in rows {
        let held = held.get(&row.id).copied();
        match take_over(node, pool, &row, (held, led.contains(&row.id))).await {
            Ok(slot) => {
                info!(instance = %slot.id, profile = slot.kind.word(), "parked by an earlier agent: adopted");
                node.tell(&slot, SlotChange::Added);
                pool.inner.state.lock().shelf.put(slot);
            }
            Err(why) => {
                debug!(instance = %row.id, why, "not adopted");
                rest.push(row);
            }
        }
    }
    rest
}

async fn take_over(
    node: &Node,
    pool: &Pool,
    row: &InstanceRow,
    (held, led): (Option<&Held>, bool),
) -> Result<Slot, String> {
    let kind = Kind::new(row.substrate, &row.profile);
    let profile = node.profiles().named(&row.profile);
    let profile = profile.filter(|_| pool.keeps(&kind));
    let tools = node.instances().tools();
    let recipe = profile
        .as_ref()
        .map(|profile| tools.recipe(row.substrate, profile));
    adoptable(row, recipe.as_deref(), held, led)?;
    let (Some(profile), Some(held), Some(ahead)) = (profile, held, &row.ahead) else {
        return Err("it is not kept any more".to_owned());
    };
    let phone = Phone::of(row, &profile, &held.product);
    let adopted = node
        .instances()
        .adopt(row.clone(), phone.clone(), None)
        .await;
    let Instance { id, .. } = adopted.map_err(|error| error.to_string())?;
    Ok(Slot {
        id,
        kind,
        phone,
        since: ahead.since,
        proven: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{journal::Ahead, model::SessionId, runtime::boot_now};

    fn row() -> InstanceRow {
        let ahead = Ahead {
            recipe: "r".to_owned(),
            since: boot_now().unwrap(),
        };
        InstanceRow {
            phase: InstancePhase::Parked,
            ..InstanceRow::new(InstanceId::random(), "default".to_owned(), Some(ahead))
        }
    }

    fn held(id: InstanceId) -> Held {
        Held {
            instance: id,
            session: None,
            record: Vec::new(),
            product: "Chrome/156.0.1.2".to_owned(),
            supervised: true,
        }
    }

    #[test]
    fn only_what_is_parked_made_alike_and_untouched_is_adopted() {
        let row = row();
        let good = held(row.id);
        assert_eq!(adoptable(&row, Some("r"), Some(&good), false), Ok(()));
        adoptable(&row, Some("r"), Some(&good), true).unwrap_err();
        let refused = |row: &InstanceRow, recipe, held: Option<&Held>| {
            adoptable(row, recipe, held, false).unwrap_err();
        };
        refused(&row, Some("another"), Some(&good));
        refused(&row, None, Some(&good));
        refused(&row, Some("r"), None);
        let used = Held {
            session: Some(SessionId::random()),
            ..held(row.id)
        };
        refused(&row, Some("r"), Some(&used));
        let bare = Held {
            supervised: false,
            ..held(row.id)
        };
        refused(&row, Some("r"), Some(&bare));
        for phase in [
            InstancePhase::Starting,
            InstancePhase::Bound,
            InstancePhase::Destroying,
        ] {
            let row = InstanceRow {
                phase,
                ..row.clone()
            };
            refused(&row, Some("r"), Some(&good));
        }
        let ordered = InstanceRow { ahead: None, ..row };
        refused(&ordered, Some("r"), Some(&good));
    }
}
