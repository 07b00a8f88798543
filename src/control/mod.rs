//! The control plane behind `api::rest`: workspaces, keys, limits, session records, usage.

mod config;
mod key;

pub use config::Config;
pub use key::{ApiKey, InvalidKey, KeyHash};
