//! What a session stands on: the relay and the instance under it, as the driver needs them.
//!
//! A trait, because the driver's decisions are tested against a ground that fails on command.

use std::{future::Future, sync::Arc};

use tracing::warn;

use super::expected;
use crate::{
    instance::{Instance, InstanceError, Instances, Phone, View},
    journal::{InstanceRow, JournalError, SessionRow},
    model::{EndReason, Ending, Failure, InstanceId, Progress, SessionId, Traffic, Why},
    relay::{
        Way,
        client::{Bind, RelayError},
        meter,
    },
    routes::Lost,
    runtime::Steps,
};

/// What a session's driver does to the world.
pub trait Ground: Send + Sync + 'static {
    /// From now on the gateway holds early clients.
    fn expect(&self, session: &SessionRow) -> impl Future<Output = Result<(), RelayError>> + Send;

    /// Begins to make the instance of a journalled row.
    fn start(&self, instance: InstanceRow);

    /// Waits until it is a phone; `Err(None)` when it was called off. Cancel-safe.
    fn parked(
        &self,
        instance: InstanceId,
    ) -> impl Future<Output = Result<Phone, Option<Failure>>> + Send;

    /// Waits until it is elsewhere on its way up than `seen`. Cancel-safe.
    fn progress(
        &self,
        instance: InstanceId,
        seen: Option<&Progress>,
    ) -> impl Future<Output = Option<Progress>> + Send;

    /// Gives the instance to the session; from now on the relay is the arbiter.
    fn bind(
        &self,
        instance: InstanceId,
        bind: Bind,
    ) -> impl Future<Output = Result<(), InstanceError>> + Send;

    /// Gives a parked instance to the session that has taken it in the journal.
    fn claim(
        &self,
        instance: InstanceId,
        bind: Bind,
    ) -> impl Future<Output = Result<(), InstanceError>> + Send;

    /// Has a bound session leave another way from now on.
    fn reroute(
        &self,
        instance: InstanceId,
        bind: Bind,
    ) -> impl Future<Output = Result<(), InstanceError>> + Send;

    /// How the session's connections leave.
    ///
    /// # Errors
    /// [`Lost`]: that is known no more.
    fn way(&self, session: &SessionRow) -> Result<Way, Lost>;

    /// Lets a parked instance go that could not be claimed; its route is `fresh`'s.
    fn instead(
        &self,
        parked: InstanceId,
        fresh: InstanceId,
    ) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Asks the arbiter to end the session; answers the ending that won.
    fn end(
        &self,
        session: &SessionId,
        reason: EndReason,
        why: &Why,
    ) -> impl Future<Output = Result<Ending, RelayError>> + Send;

    /// Kills the instance; once this returns nothing of it sends any more.
    fn kill(&self, instance: InstanceId) -> impl Future<Output = Result<(), InstanceError>> + Send;

    /// The meter now, where there is one.
    fn sample(&self, instance: InstanceId) -> Option<Traffic>;

    /// Where it is counted how long things take.
    fn steps(&self) -> &Steps;

    /// Gives back the address and lets the instance go; the removal goes on by itself.
    fn release(
        &self,
        instance: InstanceId,
        because: Option<Failure>,
    ) -> impl Future<Output = ()> + Send;
}

/// The real ground.
#[derive(Debug, Clone)]
pub struct Host {
    /// The instances of this node.
    pub instances: Arc<Instances>,
}

impl Host {
    fn find(&self, id: InstanceId) -> Option<Instance> {
        self.instances.get(id)
    }
}

impl Ground for Host {
    async fn expect(&self, session: &SessionRow) -> Result<(), RelayError> {
        let relay = &self.instances.tools().relay;
        relay.expect(&expected(session)).await
    }

    fn start(&self, instance: InstanceRow) {
        drop(self.instances.drive(instance));
    }

    async fn parked(&self, instance: InstanceId) -> Result<Phone, Option<Failure>> {
        match self.find(instance) {
            Some(instance) => instance.parked().await,
            None => Err(None),
        }
    }

    async fn progress(&self, instance: InstanceId, seen: Option<&Progress>) -> Option<Progress> {
        match self.find(instance) {
            Some(instance) => instance.progress(seen).await,
            None => std::future::pending().await,
        }
    }

    async fn bind(&self, instance: InstanceId, bind: Bind) -> Result<(), InstanceError> {
        let instance = self.find(instance).ok_or(InstanceError::NotHeld)?;
        instance.bind(bind).await
    }

    async fn claim(&self, instance: InstanceId, bind: Bind) -> Result<(), InstanceError> {
        let instance = self.find(instance).ok_or(InstanceError::NotHeld)?;
        instance.claim(bind).await
    }

    async fn reroute(&self, instance: InstanceId, bind: Bind) -> Result<(), InstanceError> {
        let instance = self.find(instance).ok_or(InstanceError::NotHeld)?;
        instance.reroute(bind).await
    }

    fn way(&self, session: &SessionRow) -> Result<Way, Lost> {
        self.instances.tools().routes.way(session)
    }

    async fn instead(&self, parked: InstanceId, fresh: InstanceId) -> Result<(), JournalError> {
        self.instances.tools().routes.pass_on(parked, fresh).await?;
        if let Some(parked) = self.find(parked) {
            parked.destroy(None).await;
        }
        Ok(())
    }

    async fn end(
        &self,
        session: &SessionId,
        reason: EndReason,
        why: &Why,
    ) -> Result<Ending, RelayError> {
        self.instances.tools().relay.end(session, reason, why).await
    }

    async fn kill(&self, instance: InstanceId) -> Result<(), InstanceError> {
        // Straight at the container: the instance's own driver may be busy with a relay that is away.
        self.instances.kill(instance).await
    }

    fn sample(&self, instance: InstanceId) -> Option<Traffic> {
        // Absence is usual: the relay makes the file when it takes the instance.
        meter::read(&self.instances.tools().paths.meter(instance)).ok()
    }

    fn steps(&self) -> &Steps {
        &self.instances.tools().steps
    }

    async fn release(&self, instance: InstanceId, because: Option<Failure>) {
        if let Err(error) = self.instances.tools().routes.release(instance).await {
            warn!(%instance, %error, "the route is free, and the journal does not know");
        }
        match self.find(instance) {
            Some(instance) if !matches!(instance.view(), View::Gone(_)) => {
                instance.destroy(because).await;
            }
            _ => {}
        }
    }
}
