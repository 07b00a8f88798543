//! Roles: configuration, build in order, serve, stop in reverse.

pub mod api;
mod banner;
pub mod config;
mod operator;
pub mod relay;
mod self_check;
pub mod telemetry;
