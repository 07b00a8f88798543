//! The nouns that every module shares: plain data, no I/O, no async.
//!
//! An *instance* is a started browser; a *session* is a customer's hold on one. Each has its own id,
//! its own state machine (in [`crate::instance`] and [`crate::session`]) and its own lifetime.

mod boot;
mod bounds;
mod capabilities;
mod described;
pub mod duration;
mod duty;
mod ending;
mod failure;
mod id;
mod lease;
mod lifecycle;
mod limits;
mod on_device;
mod progress;
mod spec;
mod targets;
mod traffic;
mod wish;

pub use boot::{BootId, BootInstant, InvalidBootId};
pub use bounds::{Beyond, Bounds};
pub use capabilities::Capabilities;
pub use described::Described;
pub use duty::Duty;
pub use ending::{Ending, Why};
pub use failure::{Blame, Class, Classify, Failure};
pub use id::{InstanceId, InvalidId, NodeId, SessionId};
pub use lease::{Grant, Lease};
pub use lifecycle::{EndReason, InstancePhase, Phase, UnknownWord};
pub use limits::{HalfThrottle, Limits};
pub use on_device::OnDevice;
pub use progress::Progress;
pub use spec::{InvalidSpec, SessionSpec, Substrate};
pub use targets::{Form, Hosts, InvalidTargets, Targets, Written};
pub use traffic::{HostTraffic, Traffic};
pub use wish::{EgressWish, OwnProxy, Unwritten};
