//! Android devices: one kind of instance in three shapes that differ in data ([`Kind`]).

mod config;
mod kind;

pub use config::{Config, Device, Settled};
pub use kind::Kind;
