//! A session as others see it.

use std::{net::IpAddr, time::Duration};

use time::OffsetDateTime;

use crate::{
    host::monitor::{Condition, Standing},
    journal::SessionRow,
    model::{
        Capabilities, Duty, EndReason, Failure, HostTraffic, InstanceId, Phase, Progress,
        SessionId, SessionSpec, Traffic,
    },
};

/// What a session takes of its host at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory that its container is charged with, bytes.
    pub memory: u64,
    /// CPU time of its container since that was started.
    pub cpu: Duration,
    /// CDP clients that are attached.
    pub clients: u64,
    /// Connections of its egress proxy that are open.
    pub connections: u64,
}

/// A session at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Which.
    pub id: SessionId,
    /// Where it is in its life.
    pub phase: Phase,
    /// What was ordered.
    pub spec: SessionSpec,
    /// `Android 10 - Chrome 156 (Mobile)`, from ready on.
    pub device: Option<String>,
    /// Full version of the running browser, from ready on.
    pub browser_version: Option<String>,
    /// What the browser of a device can do, from ready on.
    pub capabilities: Option<Capabilities>,
    /// Address that origins see, where it is known.
    pub egress_ip: Option<IpAddr>,
    /// Where that is, where it is known.
    pub egress_region: Option<String>,
    /// The egress route that it holds or held, by name.
    pub route: Option<String>,
    /// Bytes so far; final once it has ended.
    pub traffic: Traffic,
    /// When it was ordered.
    pub created_at: OffsetDateTime,
    /// When it was ready.
    pub ready_at: Option<OffsetDateTime>,
    /// When its ttl runs out.
    pub expires_at: OffsetDateTime,
    /// When it ended.
    pub ended_at: Option<OffsetDateTime>,
    /// Why it ended.
    pub end_reason: Option<EndReason>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Whether it is charged: it was ready and did not end by our fault.
    pub billable: bool,
    /// What it takes, where that was looked at.
    pub usage: Option<Usage>,
    /// Its hosts with the most bytes, where they are counted and were looked at.
    pub hosts: Vec<HostTraffic>,
    /// How far it is on its way up, where that is known step by step.
    pub progress: Option<Progress>,
}

impl From<&SessionRow> for Snapshot {
    fn from(row: &SessionRow) -> Self {
        let ending = row.ending.as_ref();
        Self {
            id: row.id.clone(),
            phase: row.phase,
            spec: row.spec.clone(),
            device: row.device.clone().filter(|_| row.ready_at.is_some()),
            browser_version: row
                .browser_version
                .clone()
                .filter(|_| row.ready_at.is_some()),
            capabilities: row.capabilities.filter(|_| row.ready_at.is_some()),
            egress_ip: row.egress,
            egress_region: row.region.clone(),
            route: row.held_route(),
            traffic: row.traffic,
            created_at: row.created_at,
            ready_at: row.ready_at,
            expires_at: row.expires_at,
            ended_at: ending.map(|ending| ending.at),
            end_reason: ending.map(|ending| ending.reason),
            failure: row.failure.clone(),
            billable: row.billable(),
            usage: None,
            hosts: Vec::new(),
            progress: None,
        }
    }
}

/// One numbered event of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number: gapless within one start of the agent, and larger than any of an earlier one.
    pub seq: u64,
    /// When.
    pub at: OffsetDateTime,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A session changed; this is how it is now.
    Session(Box<Snapshot>),
    /// Something under one or more sessions died.
    SubstrateDown {
        /// What was seen.
        cause: String,
        /// The condition of the host that it follows from, if it does.
        condition: Option<Condition>,
        /// The sessions that it took; each one's own ending is the last word.
        sessions: Vec<SessionId>,
    },
    /// The node was taken out of service, or back.
    Duty {
        /// How it stands now.
        duty: Duty,
        /// Sessions that have not ended.
        sessions: usize,
    },
    /// A condition of the host changed its level.
    Condition(Standing),
    /// A container of this node that nobody knew is removed.
    Orphan {
        /// The instance that it says it is.
        instance: InstanceId,
        /// Its name.
        container: String,
    },
    /// A session whose egress route was lost goes on by way of another.
    Rerouted {
        /// Which.
        session: SessionId,
        /// The route that was lost.
        from: String,
        /// The one in its place.
        to: String,
        /// Why.
        cause: String,
    },
    /// Something changed about an instance that no session had.
    Slot {
        /// Which.
        instance: InstanceId,
        /// Of which device profile.
        profile: String,
        /// What.
        change: SlotChange,
    },
}

/// What happens to a parked instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotChange {
    /// It stands ready.
    Added,
    /// An order was given it.
    Claimed,
    /// It was taken down unused, and why.
    Retired(&'static str),
}

/// What a watcher gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// The next event.
    Event(Event),
    /// Some events are gone: list, then go on from here.
    Gap {
        /// The oldest event that is still held.
        oldest_seq: u64,
    },
}
