#![doc = include_str!("ARCHITECTURE.md")]

pub mod model;
pub mod wire;

pub mod profile;
pub mod runtime;
pub mod tls;

pub mod adb;
pub mod cdp;
pub mod traces;

pub mod docker;
pub mod journal;
pub mod netns;
pub mod relay;

pub mod host;
pub mod routes;

pub mod instance;
pub mod session;

pub mod node;

pub mod control;

pub mod api;

pub mod daemon;

pub mod cli;
