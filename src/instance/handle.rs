//! What others hold of an instance: its mailbox and its published state.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

use super::{InstanceError, ooms::Ooms};
use crate::{
    journal::InstanceRow,
    model::{Capabilities, Failure, InstanceId, InstancePhase, Progress, Substrate, Traffic},
    profile::Profile,
    relay::client::Bind,
    traces::Trace,
};

/// What the running browser is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Phone {
    /// `Android 10 - Chrome 156 (Mobile)`.
    pub device: String,
    /// `156.0.8078.79`.
    pub version: String,
    /// Id of the image that it was started from.
    pub image: String,
    /// Of a device: what its browser can do.
    pub capabilities: Option<Capabilities>,
}

impl Phone {
    /// Of a journalled instance: a device is what it said, a browser of a container what its profile makes
    /// of it. Reads `Chrome/156.0.8078.79` (or `HeadlessChrome/…`).
    #[must_use]
    pub fn of(row: &InstanceRow, profile: &Profile, product: &str) -> Self {
        let version = product
            .split_once('/')
            .map_or(product, |(_, version)| version);
        let major = version.split('.').next().and_then(|n| n.parse().ok());
        let said = row.described.as_deref();
        let made = || profile.device(major.unwrap_or(0));
        Self {
            device: said.map_or_else(made, |said| said.name.clone()),
            version: version.to_owned(),
            image: row.image.clone(),
            capabilities: said.and_then(|said| said.capabilities),
        }
    }
}

/// An instance as it is published; each state carries what it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Being made; of a device, how far it is.
    Starting(Option<Progress>),
    /// A phone that nobody holds.
    Parked(Phone),
    /// A session's.
    Bound(Phone),
    /// Being removed: because it failed, or because it is not needed.
    Destroying(Option<Failure>),
    /// Nothing of it is left.
    Gone(Option<Failure>),
}

impl View {
    /// The bare phase.
    #[must_use]
    pub const fn phase(&self) -> InstancePhase {
        match self {
            Self::Starting(_) => InstancePhase::Starting,
            Self::Parked(_) => InstancePhase::Parked,
            Self::Bound(_) => InstancePhase::Bound,
            Self::Destroying(_) => InstancePhase::Destroying,
            Self::Gone(_) => InstancePhase::Gone,
        }
    }
}

/// What can be asked of the driver.
#[derive(Debug)]
pub(super) enum Order {
    Bind(Box<Bind>, Trace, oneshot::Sender<Result<(), InstanceError>>),
    Claim(Box<Bind>, Trace, oneshot::Sender<Result<(), InstanceError>>),
    Reroute(Box<Bind>, oneshot::Sender<Result<(), InstanceError>>),
    Reattach(Traffic, oneshot::Sender<Result<(), InstanceError>>),
    Refill,
    Destroy(Option<Failure>),
}

/// An instance, from outside. Cheap to clone; dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Which.
    pub id: InstanceId,
    /// What it runs.
    pub substrate: Substrate,
    pub(super) mailbox: mpsc::Sender<Order>,
    pub(super) view: watch::Receiver<View>,
    pub(super) ooms: Arc<Ooms>,
}

impl Instance {
    /// Its state, as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// Its state now.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// What its container takes now: memory in bytes, CPU time since its start. `None` while there
    /// is none, or where the kernel does not say. Reads three small files.
    #[must_use]
    pub fn usage(&self) -> Option<(u64, Duration)> {
        self.ooms.usage()
    }

    /// Waits until the start has ended, one way or the other. Cancel-safe.
    ///
    /// # Errors
    /// The failure; `None` when it was called off.
    pub async fn parked(&self) -> Result<Phone, Option<Failure>> {
        let mut view = self.view.clone();
        let ended = view
            .wait_for(|view| !matches!(view, View::Starting(_)))
            .await;
        match ended.as_deref() {
            Ok(View::Parked(phone) | View::Bound(phone)) => Ok(phone.clone()),
            Ok(View::Destroying(failure) | View::Gone(failure)) => Err(failure.clone()),
            Ok(View::Starting(_)) | Err(_) => Err(None),
        }
    }

    /// Waits until it is elsewhere on its way up than `seen`, and says where; for ever once it is up. Only
    /// the latest is told. Cancel-safe.
    pub async fn progress(&self, seen: Option<&Progress>) -> Option<Progress> {
        let mut view = self.view.clone();
        let news = |view: &View| matches!(view, View::Starting(now) if now.as_ref() != seen);
        if let Ok(View::Starting(now)) = view.wait_for(news).await.as_deref() {
            return now.clone();
        }
        std::future::pending().await
    }

    /// How many of its processes the kernel has killed for memory since the last time this was asked.
    #[must_use]
    pub fn new_ooms(&self) -> u64 {
        self.ooms.look()
    }

    /// Gives it to the session that it was made for.
    ///
    /// # Errors
    /// [`InstanceError`]; the instance must be destroyed then.
    pub async fn bind(&self, bind: Bind) -> Result<(), InstanceError> {
        self.ask(|done| Order::Bind(Box::new(bind), Trace::current(), done))
            .await
    }

    /// Gives it to a session that has taken it in the journal.
    ///
    /// # Errors
    /// [`InstanceError`]; the instance must be destroyed then.
    pub async fn claim(&self, bind: Bind) -> Result<(), InstanceError> {
        self.ask(|done| Order::Claim(Box::new(bind), Trace::current(), done))
            .await
    }

    /// Has its session leave another way; also a relay that is given it later is told that way.
    ///
    /// # Errors
    /// [`InstanceError`]: the relay does not know of it yet.
    pub async fn reroute(&self, bind: Bind) -> Result<(), InstanceError> {
        self.ask(|done| Order::Reroute(Box::new(bind), done)).await
    }

    /// Hands it to a relay that does not know it, and binds it again if it was bound: to a session that was
    /// seen to have moved `used`.
    ///
    /// # Errors
    /// [`InstanceError`]; worth another try.
    pub async fn reattach(&self, used: Traffic) -> Result<(), InstanceError> {
        self.ask(|done| Order::Reattach(used, done)).await
    }

    /// Sends the relay more sockets, soon.
    pub fn refill(&self) {
        // A full mailbox means that the driver is busy; the relay asks again.
        self.mailbox.try_send(Order::Refill).ok();
    }

    /// Begins to remove it. Idempotent.
    pub async fn destroy(&self, because: Option<Failure>) {
        self.mailbox.send(Order::Destroy(because)).await.ok();
    }

    /// Waits until nothing of it is left. Cancel-safe.
    pub async fn gone(&self) {
        let mut view = self.view.clone();
        view.wait_for(|view| matches!(view, View::Gone(_)))
            .await
            .ok();
    }

    async fn ask(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<(), InstanceError>>) -> Order,
    ) -> Result<(), InstanceError> {
        let (done, answer) = oneshot::channel();
        self.mailbox
            .send(order(done))
            .await
            .map_err(|_gone| InstanceError::NotHeld)?;
        answer.await.unwrap_or(Err(InstanceError::NotHeld))
    }
}
