//! Everything that listens for control planes, clients and operators: gRPC, REST, admin.

pub mod admin;
mod codes;
pub mod grpc;
mod http;
pub mod rest;

pub use codes::{Codes, codes};
