//! `chaser relay`: the data plane as a process of its own.

pub use crate::relay::server::{Failed, Options, run};
