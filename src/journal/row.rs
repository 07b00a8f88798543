//! The rows, in the model's words.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::model::{
    BootInstant, Capabilities, Described, EndReason, Ending, Failure, InstanceId, InstancePhase,
    OnDevice, Phase, SessionId, SessionSpec, Substrate, Traffic, Why,
};

/// A session, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Chosen by whoever ordered it.
    pub id: SessionId,
    /// The order.
    pub spec: SessionSpec,
    /// Where it is in its life.
    pub phase: Phase,
    /// The first end that was asked for, once one was.
    pub asked: Option<EndReason>,
    /// What whoever asked first knew beyond the reason.
    #[serde(default)]
    pub why: Why,
    /// The end that won, once it has ended.
    pub ending: Option<Ending>,
    /// Why it failed before it was ready.
    pub failure: Option<Failure>,
    /// The instance under it: the one row that binds the two.
    pub instance: InstanceId,
    /// The address that origins see, where it is known.
    pub egress: Option<IpAddr>,
    /// Name of its egress route; `None` for the host's default, or a client's own proxy.
    #[serde(default)]
    pub route: Option<String>,
    /// Where that comes out, where it is known.
    #[serde(default)]
    pub region: Option<String>,
    /// `Android 10 - Chrome 156 (Mobile)`, from ready on.
    pub device: Option<String>,
    /// Full version of the browser, from ready on.
    pub browser_version: Option<String>,
    /// Of a device: what its browser can do, from ready on.
    #[serde(default)]
    pub capabilities: Option<Capabilities>,
    /// The last sample of the meter that was folded in.
    pub traffic: Traffic,
    /// When it was ordered.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it became ready.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ready_at: Option<OffsetDateTime>,
    /// When its ttl runs out, for display.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// When its ttl runs out, for deciding.
    pub deadline: BootInstant,
}

impl SessionRow {
    /// A session that was ordered now and has nothing yet but its id, and that of its instance.
    #[must_use]
    pub fn ordered(
        (id, instance): (SessionId, InstanceId),
        spec: SessionSpec,
        (created_at, now): (OffsetDateTime, BootInstant),
    ) -> Self {
        Self {
            id,
            phase: Phase::Creating,
            asked: None,
            why: Why::default(),
            ending: None,
            failure: None,
            instance,
            egress: None,
            route: None,
            region: None,
            device: None,
            browser_version: None,
            capabilities: None,
            traffic: Traffic::default(),
            created_at,
            ready_at: None,
            expires_at: created_at + spec.ttl,
            deadline: now.after(spec.ttl),
            spec,
        }
    }

    /// Name of the route that it holds. Rows from before routes had names know their address, which
    /// is the name of its route now.
    #[must_use]
    pub fn held_route(&self) -> Option<String> {
        let address = || self.egress.map(|ip| ip.to_string());
        self.route.clone().or_else(address)
    }

    /// Charged: it was ready, and did not end through our fault.
    #[must_use]
    pub fn billable(&self) -> bool {
        match &self.ending {
            Some(ending) => self.ready_at.is_some() && ending.reason.billable(),
            None => self.ready_at.is_some(),
        }
    }
}

/// A started browser and all that was made for it: what the one destroy path works from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRow {
    /// Its id: everything on the host is keyed by it.
    pub id: InstanceId,
    /// Where it is in its life.
    pub phase: InstancePhase,
    /// Name of its device profile.
    pub profile: String,
    /// What it runs.
    #[serde(default)]
    pub substrate: Substrate,
    /// Of a device: where its browser is, once it was found.
    #[serde(default)]
    pub on_device: Option<Box<OnDevice>>,
    /// Of a device: what it said of itself, once it was attached.
    #[serde(default)]
    pub described: Option<Box<Described>>,
    /// Of a device: the host's binders that it has.
    #[serde(default)]
    pub binders: Option<Box<[String; 3]>>,
    /// The container, once it was started.
    pub container: Option<Binding>,
    /// Id of the image that it runs, once it was started.
    #[serde(default)]
    pub image: String,
    /// For an instance that was started ahead of any order: what another agent must know of it.
    #[serde(default)]
    pub ahead: Option<Ahead>,
}

impl InstanceRow {
    /// One that is to be made.
    #[must_use]
    pub const fn new(id: InstanceId, profile: String, ahead: Option<Ahead>) -> Self {
        Self {
            id,
            phase: InstancePhase::Starting,
            profile,
            substrate: Substrate::Chromium,
            on_device: None,
            described: None,
            binders: None,
            container: None,
            image: String::new(),
            ahead,
        }
    }

    /// The same of another substrate.
    #[must_use]
    pub fn on(self, substrate: Substrate) -> Self {
        Self { substrate, ..self }
    }

    /// One of which nothing is known but that it must go.
    #[must_use]
    pub fn leftover(id: InstanceId) -> Self {
        Self {
            phase: InstancePhase::Destroying,
            ..Self::new(id, String::new(), None)
        }
    }
}

/// An instance that waits for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// Hash of what it was made from beside the image: with another one it is stale.
    pub recipe: String,
    /// When it was ordered: what its age counts from.
    pub since: BootInstant,
}

/// What a new session stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Under {
    /// An instance that is made for it.
    Fresh(InstanceRow),
    /// One that was parked: its row is there, and is this session's from now on.
    Parked(InstanceId),
    /// One that was being made ahead of any order, and goes on being made for this one: its row is there,
    /// its driver writes it, and the session's own says that it is waited for.
    Booting(InstanceId),
}

/// One run of one container: a reused name or pid does not match it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Docker's id.
    pub id: String,
    /// Pid of its init.
    pub pid: u32,
    /// When it was started.
    pub started_at: String,
}

/// A route that is held, or rests after it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    /// Who holds it.
    pub instance: InstanceId,
    /// Its name; rows from before routes had names hold an address, which is one.
    #[serde(alias = "address")]
    pub route: String,
    /// When it was given back.
    pub released: Option<BootInstant>,
}
