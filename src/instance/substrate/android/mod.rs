//! Android devices: one driver for three kinds that differ in data ([`Kind`]).
//!
//! ```text
//!   container ─▶ up: [`Ladder`] decides, [`climb`] tries over an ADB of its own ─▶ closed ─▶ relay's ADB
//! ```
//!
//! The agent brings a device up (adbd, boot, browser, flags, DevTools) through sockets made in its
//! namespace; then the relay dials the same adbd itself, because what clients feel must outlive the agent.
//! A device is the phone that it is: no profile is laid over it.

mod binders;
mod boot;
mod climb;
mod config;
mod container;
mod failed;
mod key;
mod kind;
mod ladder;
mod told;

pub use binders::Binders;
pub use climb::{Up, up};
pub use config::{Config, Device, Settled};
pub use container::container;
pub use failed::Failed;
pub use key::key;
pub use kind::Kind;
pub use ladder::{Ladder, Next, Rung, Seen};
