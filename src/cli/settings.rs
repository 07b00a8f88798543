//! The configuration, for commands that need no more of it than where things are.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use toml::Value;

use super::fail;
use crate::daemon::config::{Config, Flag, Sources};

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// Configuration file (TOML)
    #[arg(long, env = "CHASER_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// State directory of the daemon
    #[arg(long, value_name = "DIR", global = true)]
    state_dir: Option<PathBuf>,
    /// Runtime directory of the daemon
    #[arg(long, value_name = "DIR", global = true)]
    runtime_dir: Option<PathBuf>,
}

impl Place {
    /// The file that was named, if one was.
    pub(super) fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The configuration as the daemon would see it.
    ///
    /// # Errors
    /// What is wrong with it, by name.
    pub(super) fn load(self) -> anyhow::Result<Config> {
        let flags = [
            flag("--state-dir", "state_dir", path(self.state_dir)),
            flag("--runtime-dir", "runtime_dir", path(self.runtime_dir)),
        ];
        let sources = Sources {
            file: self.config,
            environment: environment(),
            flags: flags.into_iter().flatten().collect(),
        };
        Config::load(&sources).map_err(fail::config)
    }
}

/// Our variables of this process.
pub(super) fn environment() -> Vec<(String, String)> {
    let ours = |(name, value): (OsString, OsString)| {
        let name = name.into_string().ok()?;
        let ours = name.starts_with("CHASER_");
        ours.then(|| Some((name, value.into_string().ok()?)))?
    };
    std::env::vars_os().filter_map(ours).collect()
}

/// One key set by a flag, when the flag was given.
pub(super) fn flag(name: &'static str, key: &'static str, value: Option<Value>) -> Option<Flag> {
    value.map(|value| Flag { name, key, value })
}

/// A path as a configuration value.
pub(super) fn path(path: Option<PathBuf>) -> Option<Value> {
    path.map(|path| Value::String(path.display().to_string()))
}
