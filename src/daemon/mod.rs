//! Roles: configuration, build in order, serve, stop in reverse.

pub mod agent;
pub mod api;
mod banner;
pub mod certificates;
pub mod config;
pub mod front;
pub mod node;
mod operator;
pub mod relay;
mod self_check;
mod service;
pub mod telemetry;
pub mod up;
mod watchdog;
