//! Everything that listens for control planes, clients and operators: gRPC, REST, admin.

pub mod admin;
