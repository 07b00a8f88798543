//! Everything that listens for control planes, clients and operators: gRPC, REST, admin.

pub mod admin;
mod codes;
mod http;
pub mod rest;

pub use codes::{Codes, codes};
