//! Roles: configuration, build in order, serve, stop in reverse.

pub mod config;
pub mod telemetry;
