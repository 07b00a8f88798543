//! What a start has to do more where it is of a device.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Duration,
};

use super::{
    StartError, container_name,
    start::Requested,
    substrate::android::{self, Settled, Up},
};
use crate::{
    docker::{ContainerSpec, ImageFacts},
    host::{Ability, Need},
    model::OnDevice,
    relay,
    runtime::{Death, cores},
};

/// Docker may say a little later than the kernel that a container has died.
const DEATH_LOOKS: u32 = 100;
const DEATH_LOOK: Duration = Duration::from_millis(50);

impl Requested<'_> {
    /// Image and container of a device, with the binders that it is given.
    pub(super) async fn device(
        &mut self,
        of: &Settled,
    ) -> Result<(ImageFacts, ContainerSpec), StartError> {
        let image = self.tools.device_image(&of.device.image).await?;
        if of.needs.contains(&Need::Binder) {
            let all = Ability::look(Path::new("/")).binder_triples();
            // None at all where each container makes its own.
            if !all.is_empty() {
                let given = self.tools.binders.give(self.row.id, all);
                self.row.binders = Some(Box::new(given.ok_or(StartError::NoBinder)?));
            }
        }
        let (binders, runtime) = (self.row.binders.as_deref(), &self.tools.config.runtime);
        let mut spec = android::container(of, binders, runtime);
        // Docker refuses to promise more cores than there are.
        let cores = u32::try_from(cores()).unwrap_or(1);
        spec.cpu_millis = spec.cpu_millis.min(cores.saturating_mul(1_000));
        Ok((image, spec))
    }

    /// Brings a device up, and writes down where its browser is; its key is written nowhere.
    pub(super) async fn climb(
        &mut self,
        device: &Settled,
        pidfd: &OwnedFd,
    ) -> Result<(Up, relay::Device), StartError> {
        self.go_on("waiting for the device")?;
        let key = android::key(device).await?;
        let death = Death::of(pidfd.try_clone()?)?;
        let up = tokio::select! {
            up = android::up(device, key.as_ref(), pidfd.as_fd(), self.stage) => up,
            _dead = death.wait() => return Err(self.died().await),
            () = self.called_off.cancelled() => return Err(StartError::CalledOff),
        };
        let up = up.map_err(|(failed, evidence)| StartError::Device { failed, evidence })?;
        let (adb_port, socket) = (device.kind.adb_port, up.socket.clone());
        let at = OnDevice { adb_port, socket };
        self.row.on_device = Some(Box::new(at.clone()));
        self.tools.journal.instance(self.row.clone()).await?;
        Ok((up, relay::Device { at, key }))
    }

    /// What its container died of, which is over at once: no rung is waited for any more.
    async fn died(&self) -> StartError {
        let name = container_name(self.row.id);
        for _ in 0..DEATH_LOOKS {
            if let Err(dead) = self.tools.running(&name).await {
                return dead;
            }
            tokio::time::sleep(DEATH_LOOK).await;
        }
        StartError::Replaced
    }
}
