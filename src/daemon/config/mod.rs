//! The configuration: one TOML file, the environment, flags, in this order; every key optional.
//!
//! ```text
//!   file (--config) ─▶ environment (CHASER_<SECTION>_<KEY>) ─▶ flags
//!        └──────────── one table, each key with its origin ──────┘
//!                         each value alone ─▶ all together ─▶ checks
//! ```
//!
//! What is wrong is refused by name, with where it came from and what is allowed. The keys are those
//! of `systemd/chaser.toml`, which a test holds against the structs below.

mod catalogue;
mod check;
mod layers;
mod listeners;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize;

pub use catalogue::DOCUMENTED;
pub use layers::{Flag, Sources};

use crate::{api, control, host::monitor, instance, node, profile, relay, routes, session, tls};

use super::telemetry;

/// Everything that a role is told at its start. Each section belongs to the module that uses it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What must survive a reboot.
    pub state_dir: PathBuf,
    /// Sockets, counters, pids.
    pub runtime_dir: PathBuf,
    /// The node.
    pub node: node::Config,
    /// When the host is in trouble.
    pub host: monitor::Config,
    /// Device profiles.
    pub profile: profile::Config,
    /// Containers.
    pub instance: instance::Config,
    /// Devices.
    pub substrate: instance::substrate::android::Config,
    /// Browsers that are parked ahead of orders.
    pub pool: node::PoolConfig,
    /// Sessions.
    pub session: session::Config,
    /// Egress routes and policy.
    pub egress: routes::Config,
    /// Who is told what happens.
    pub hooks: node::HooksConfig,
    /// Who tells that the host goes.
    pub notice: node::NoticeConfig,
    /// The CDP gateway.
    pub cdp: relay::Config,
    /// The public API.
    pub api: control::Config,
    /// Probes and metrics.
    pub admin: api::admin::Config,
    /// Certificates, and who may come in.
    pub tls: tls::Config,
    /// Logs.
    pub log: telemetry::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/var/lib/chaser"),
            runtime_dir: PathBuf::from("/run/chaser"),
            node: node::Config::default(),
            host: monitor::Config::default(),
            profile: profile::Config::default(),
            instance: instance::Config::default(),
            substrate: instance::substrate::android::Config::default(),
            pool: node::PoolConfig::default(),
            session: session::Config::default(),
            egress: routes::Config::default(),
            hooks: node::HooksConfig::default(),
            notice: node::NoticeConfig::default(),
            cdp: relay::Config::default(),
            api: control::Config::default(),
            admin: api::admin::Config::default(),
            tls: tls::Config::default(),
            log: telemetry::Config::default(),
        }
    }
}

impl Config {
    /// Merges the layers and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`] names the first thing that is wrong.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let layers = layers::Layers::merge(sources)?;
        let mut config = layers.parse()?;
        for dir in [&mut config.state_dir, &mut config.runtime_dir] {
            // Relative to where we were started; what cannot be resolved fails the check.
            if let Ok(absolute) = std::path::absolute(&dir) {
                *dir = absolute;
            }
        }
        match check::check(&config) {
            Ok(()) => Ok(config),
            Err(problem) => Err(layers.blame(problem)),
        }
    }

    /// The names inside the runtime directory.
    #[must_use]
    pub fn paths(&self) -> relay::Paths {
        relay::Paths {
            root: self.runtime_dir.clone(),
        }
    }

    /// The node's gRPC socket.
    #[must_use]
    pub fn node_socket(&self) -> PathBuf {
        node_socket(&self.runtime_dir)
    }

    /// The key that the first start makes.
    #[must_use]
    pub fn operator_key(&self) -> PathBuf {
        operator_key(&self.state_dir)
    }

    /// The control plane's database.
    #[must_use]
    pub fn control_db(&self) -> PathBuf {
        self.state_dir.join("control.db")
    }
}

/// The node's gRPC socket inside a runtime directory.
#[must_use]
pub fn node_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("node.sock")
}

/// The operator's key inside a state directory.
#[must_use]
pub fn operator_key(state_dir: &Path) -> PathBuf {
    state_dir.join("operator.key")
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(&'static str),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A key that does not exist.
    #[error("{origin}: unknown key `{key}`; allowed: {allowed}")]
    UnknownKey {
        /// Where it came from.
        origin: Origin,
        /// The key as written.
        key: String,
        /// The keys that exist in its place.
        allowed: String,
    },
    /// A value that cannot be.
    #[error("{origin}: `{key}` {problem}")]
    BadValue {
        /// Where it came from.
        origin: Origin,
        /// The key.
        key: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
}
