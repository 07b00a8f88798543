//! End to end, against real Docker, real Chromium and real clients.
//!
//! Every test starts the real binary with directories, ports and a network of its own, and every
//! test is a leak test: see [`harness`].
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a failing helper is a failing test, and nothing here is anybody's interface"
)]

mod harness;

mod adb;
mod agent;
mod bench;
mod clients;
mod conditions;
mod contract;
mod devices;
mod egress;
mod emulation;
mod endings;
mod engine;
mod examples;
#[cfg(feature = "failpoints")]
mod failpoints;
mod flow;
mod gateway;
mod hooks;
mod host;
mod journal;
mod kept;
mod leak;
mod lease;
mod load;
mod meter;
mod notice;
mod observability;
mod openapi;
mod operator;
mod operator_tools;
mod orders;
mod package;
mod pool;
mod profile;
mod proof;
mod quiet;
mod reconcile;
mod restart;
mod robust;
mod routes;
mod scaler;
mod starting;
mod strained;
mod substrate;
mod supervision;
mod tls;
mod traces;
mod transfers;
mod units;
mod watch;
