//! Attached instances: what the relay holds for each container.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::attachment::{AttachFailed, Attachment, Staged};
use crate::model::InstanceId;

/// Sockets may wait this many at a time for their `Attach`.
const STAGED: usize = 256;

/// All instances that this relay knows.
#[derive(Debug, Default)]
pub(super) struct Instances {
    /// Guarded by a plain lock: no await while it is held.
    slots: Mutex<HashMap<InstanceId, Slot>>,
}

#[derive(Debug)]
enum Slot {
    Staged(Staged),
    Attaching(Attempt),
    Attached(Arc<Attachment>),
}

/// An instance on its way in.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempt {
    /// Cancelled by a detach that comes meanwhile.
    pub(super) detached: CancellationToken,
    /// Cancelled once the attempt has come to its end, and left nothing behind where it failed.
    pub(super) over: CancellationToken,
}

/// What a detach has to wait for.
#[derive(Debug)]
pub(super) enum Leaving {
    Nothing,
    Attempt(CancellationToken),
    Attachment(Arc<Attachment>),
}

/// What [`Instances::forget`] is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gone<'a> {
    Nothing,
    Attempt,
    Attachment(&'a Arc<Attachment>),
}

impl Instances {
    /// Keeps sockets until `Attach` asks for them; newer ones replace older ones.
    ///
    /// # Errors
    /// A sentence, when the instance is further or too many wait.
    pub(super) fn stage(&self, instance: InstanceId, staged: Staged) -> Result<(), String> {
        let mut slots = self.slots.lock();
        match slots.get(&instance) {
            Some(Slot::Attaching(_) | Slot::Attached(_)) => {
                return Err(format!("{instance} has its sockets already"));
            }
            Some(Slot::Staged(_)) => {}
            None if slots.len() >= STAGED + self.attached_in(&slots) => {
                return Err(format!("{STAGED} instances wait to be attached already"));
            }
            None => {}
        }
        slots.insert(instance, Slot::Staged(staged));
        Ok(())
    }

    /// Takes staged sockets for attaching.
    ///
    /// # Errors
    /// [`AttachFailed`]; an instance that is attached already is no error.
    pub(super) fn begin(&self, instance: InstanceId) -> Result<Begun, AttachFailed> {
        let mut slots = self.slots.lock();
        match slots.remove(&instance) {
            None => Err(AttachFailed::NoSockets),
            Some(Slot::Staged(staged)) => {
                let attempt = Attempt::default();
                slots.insert(instance, Slot::Attaching(attempt.clone()));
                Ok(Begun::Fresh(staged, attempt))
            }
            Some(Slot::Attaching(attempt)) => {
                let over = attempt.over.clone();
                slots.insert(instance, Slot::Attaching(attempt));
                Ok(Begun::Underway(over))
            }
            Some(Slot::Attached(attachment)) => {
                slots.insert(instance, Slot::Attached(Arc::clone(&attachment)));
                if attachment.hold.lock().leaving {
                    return Err(AttachFailed::Busy);
                }
                Ok(Begun::Already(attachment))
            }
        }
    }

    /// Files what was attached; `false` when it was detached meanwhile.
    pub(super) fn finish(&self, instance: InstanceId, attachment: &Arc<Attachment>) -> bool {
        let mut slots = self.slots.lock();
        match slots.get(&instance) {
            Some(Slot::Attaching(attempt)) if !attempt.detached.is_cancelled() => {
                slots.insert(instance, Slot::Attached(Arc::clone(attachment)));
                true
            }
            _ => false,
        }
    }

    /// Begins to let go of an instance, whatever its state: from here on nobody is bound to it. Its
    /// slot is taken until [`Instances::forget`], so that no new attempt meets what the old one
    /// leaves behind.
    pub(super) fn leave(&self, instance: InstanceId) -> Leaving {
        let mut slots = self.slots.lock();
        match slots.get(&instance) {
            None => Leaving::Nothing,
            Some(Slot::Staged(_)) => {
                slots.remove(&instance);
                Leaving::Nothing
            }
            Some(Slot::Attaching(attempt)) => {
                attempt.detached.cancel();
                Leaving::Attempt(attempt.over.clone())
            }
            Some(Slot::Attached(attachment)) => {
                attachment.hold.lock().leaving = true;
                Leaving::Attachment(Arc::clone(attachment))
            }
        }
    }

    /// Cleans up after an instance and frees its slot, in one step. `false` when somebody else has
    /// done so, or has taken the slot since.
    pub(super) fn forget(
        &self,
        instance: InstanceId,
        gone: Gone<'_>,
        clean_up: impl FnOnce(),
    ) -> bool {
        let mut slots = self.slots.lock();
        let still = match (slots.get(&instance), gone) {
            (None, Gone::Nothing) | (Some(Slot::Attaching(_)), Gone::Attempt) => true,
            (Some(Slot::Attached(held)), Gone::Attachment(gone)) => Arc::ptr_eq(held, gone),
            _ => false,
        };
        if still {
            clean_up();
            slots.remove(&instance);
        }
        still
    }

    /// An attached instance.
    pub(super) fn get(&self, instance: InstanceId) -> Option<Arc<Attachment>> {
        match self.slots.lock().get(&instance) {
            Some(Slot::Attached(attachment)) => Some(Arc::clone(attachment)),
            Some(Slot::Staged(_) | Slot::Attaching(_)) | None => None,
        }
    }

    /// Every attached instance.
    pub(super) fn all(&self) -> Vec<Arc<Attachment>> {
        let slots = self.slots.lock();
        let attached = slots.values().filter_map(|slot| match slot {
            Slot::Attached(attachment) => Some(Arc::clone(attachment)),
            Slot::Staged(_) | Slot::Attaching(_) => None,
        });
        attached.collect()
    }

    /// Whether nothing at all is held.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.lock().is_empty()
    }

    fn attached_in(&self, slots: &HashMap<InstanceId, Slot>) -> usize {
        slots
            .values()
            .filter(|slot| matches!(slot, Slot::Attached(_)))
            .count()
    }
}

/// What [`Instances::begin`] found.
#[derive(Debug)]
pub(super) enum Begun {
    /// Sockets to attach with.
    Fresh(Staged, Attempt),
    /// Somebody is at it: to be asked again once that is over.
    Underway(CancellationToken),
    /// It is attached already.
    Already(Arc<Attachment>),
}
