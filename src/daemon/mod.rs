//! Roles: configuration, build in order, serve, stop in reverse.

pub mod api;
mod banner;
pub mod config;
mod operator;
mod self_check;
pub mod telemetry;
