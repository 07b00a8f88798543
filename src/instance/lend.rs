//! What a relay is given of an instance: sockets, the way in and out, and all of it again where it has
//! forgotten it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use tracing::info;

use super::{
    InstanceError, Tools,
    driver::Driver,
    start::SOCKETS,
    substrate::{self, android},
};
use crate::{
    model::InstanceId,
    netns,
    relay::{
        Device,
        client::{Bind, RelayError},
    },
};

/// Descriptors that the agent keeps: the way back in, and what queues while a relay restarts.
#[derive(Debug)]
pub(super) struct Held {
    /// The container's init.
    pub(super) pidfd: OwnedFd,
    /// A duplicate of the egress listener; `None` where nobody had it any more.
    egress: Option<OwnedFd>,
}

impl Held {
    /// Of an instance that was just furnished, before anything is handed over.
    pub(super) async fn made(
        tools: &Tools,
        id: InstanceId,
        (pidfd, egress): (&OwnedFd, &OwnedFd),
    ) -> io::Result<Self> {
        let mut held = Self {
            pidfd: pidfd.try_clone()?,
            egress: None,
        };
        held.keep(tools, id, egress.try_clone()?).await;
        Ok(held)
    }

    /// Of an instance that an earlier agent made. What nobody kept is made anew when it is attached again.
    pub(super) async fn found(tools: &Tools, id: InstanceId, pidfd: OwnedFd) -> Self {
        let egress = tools.kept.take(&id.to_string());
        let mut held = Self { pidfd, egress };
        held.ask(tools, id).await;
        held
    }

    /// Has it of the relay where it is not there.
    async fn ask(&mut self, tools: &Tools, id: InstanceId) {
        if self.egress.is_none()
            && let Ok(egress) = tools.relay.egress_listener(id).await
        {
            self.keep(tools, id, egress).await;
        }
    }

    async fn keep(&mut self, tools: &Tools, id: InstanceId, egress: OwnedFd) {
        tools.kept.put(&id.to_string(), egress.as_fd()).await;
        self.egress = Some(egress);
    }
}

impl Driver {
    /// For a relay that does not serve the instance: everything again but the container, and but what
    /// an earlier try, or an agent that died over it, has left there.
    pub(super) async fn reattach(&mut self) -> Result<(), InstanceError> {
        let (tools, id) = (&self.tools, self.row.id);
        let profile = tools.profiles.named(&self.row.profile);
        let profile = profile.ok_or(InstanceError::NotHeld)?;
        let limit = tools.config.start_timeout;
        let device = self.on_device().await?;
        let device = device.as_ref();
        match tools.relay.attach(id, &profile, device, limit).await {
            Err(RelayError::Unknown(_)) => {
                self.send_sockets().await?;
                let relay = &self.tools.relay;
                relay.attach(id, &profile, device, limit).await?;
            }
            attached => drop(attached?),
        }
        let (tools, held) = (&self.tools, self.held.as_mut());
        if let Some(held) = held {
            held.ask(tools, id).await;
        }
        if let Some(bind) = &self.bound {
            give(tools, bind).await?;
        }
        info!(instance = %id, "instance attached again");
        Ok(())
    }

    /// Where the browser is, of a device, and the key for it: it is in no journal.
    async fn on_device(&self) -> Result<Option<Device>, InstanceError> {
        let Some(at) = self.row.on_device.as_deref().cloned() else {
            return Ok(None);
        };
        let key = match self.tools.devices.settled(self.row.substrate) {
            Some(settled) => android::key(&settled).await?,
            None => None,
        };
        Ok(Some(Device { at, key }))
    }

    /// What a relay that has nothing of the instance needs of it.
    async fn send_sockets(&mut self) -> Result<(), InstanceError> {
        let held = self.held.as_mut().ok_or(InstanceError::NotHeld)?;
        let (egress, dial) = match &held.egress {
            // The port inside is taken for as long as our duplicate lives: hand that over.
            Some(kept) => {
                let dial = netns::sockets(held.pidfd.as_fd(), SOCKETS).await?;
                (kept.try_clone()?, dial)
            }
            None => {
                let browser = substrate::browser(self.row.substrate);
                let made = netns::furnish(held.pidfd.as_fd(), browser, SOCKETS).await?;
                let egress = made.egress.try_clone()?;
                held.keep(&self.tools, self.row.id, egress).await;
                (made.egress, made.dial)
            }
        };
        let (pidfd, relay) = (held.pidfd.try_clone()?, &self.tools.relay);
        relay
            .send_instance(self.row.id, pidfd, egress, dial)
            .await?;
        Ok(())
    }

    pub(super) async fn refill(&self) -> Result<(), InstanceError> {
        let held = self.held.as_ref().ok_or(InstanceError::NotHeld)?;
        let dial = netns::sockets(held.pidfd.as_fd(), SOCKETS).await?;
        self.tools.relay.refill(self.row.id, dial).await?;
        Ok(())
    }
}

/// Never without a way: what is not known must not come out anywhere else.
pub(super) async fn give(tools: &Tools, bind: &Bind) -> Result<(), InstanceError> {
    if bind.way.is_none() {
        return Err(InstanceError::NoWay);
    }
    Ok(tools.relay.bind(bind).await?)
}
