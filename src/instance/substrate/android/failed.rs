//! Why a device does not come up, one for each rung and for its key.

use std::time::Duration;

/// Why a device does not come up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// Nobody greeted.
    #[error("its adbd did not answer within {limit:?} ({last})")]
    NoAdbd {
        /// The boot's budget.
        limit: Duration,
        /// What was seen last.
        last: String,
    },
    /// It wants a key.
    #[error(
        "its adbd demands a key, and none is configured; name one in `adb_key` that the image knows, or \
         build the image with ADB authentication off"
    )]
    WantsKey,
    /// It did not take the key.
    #[error(
        "its adbd did not accept this host's key for {shown:.0?} (SHA-256 {fingerprint}); put the `.pub` \
         beside `adb_key` into the image's /adb_keys or /data/misc/adb/adb_keys"
    )]
    KeyRefused {
        /// Of the public key.
        fingerprint: String,
        /// For how long.
        shown: Duration,
    },
    /// The key's file.
    #[error("{why}")]
    NoKey {
        /// A sentence that names it.
        why: String,
    },
    /// adbd comes and goes.
    #[error("its adbd went away {times} times ({last})")]
    AdbUnstable {
        /// How often.
        times: u32,
        /// What was seen last.
        last: String,
    },
    /// Android did not boot.
    #[error("Android did not boot within {limit:?} ({last})")]
    NotBooted {
        /// The boot's budget.
        limit: Duration,
        /// What was seen last.
        last: String,
    },
    /// Android boots again and again.
    #[error("Android does not boot: zygote died {times} times")]
    CrashLoop {
        /// How often.
        times: u32,
    },
    /// No browser.
    #[error("the image has no such browser ({last})")]
    NoPackage {
        /// What was seen last.
        last: String,
    },
    /// Proxy or flags.
    #[error("proxy and flags cannot be written ({last})")]
    NoSettings {
        /// What was seen last.
        last: String,
    },
    /// The browser could not be told to start.
    #[error("the browser cannot be started ({last})")]
    NoLaunch {
        /// What was seen last.
        last: String,
    },
    /// The browser started, and no socket came.
    #[error("the browser was started {times} times and has no DevTools socket ({last})")]
    NoSocket {
        /// How often.
        times: u32,
        /// What was seen last.
        last: String,
    },
    /// The socket is there and says nothing sensible.
    #[error("the browser was started {times} times and its DevTools does not answer ({last})")]
    NoAnswer {
        /// How often.
        times: u32,
        /// What was seen last.
        last: String,
    },
}

impl Failed {
    /// A stable word.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoAdbd { .. } => "device_no_adbd",
            Self::WantsKey => "device_wants_key",
            Self::KeyRefused { .. } => "device_key_refused",
            Self::NoKey { .. } => "device_no_key",
            Self::AdbUnstable { .. } => "device_adb_unstable",
            Self::NotBooted { .. } => "device_not_booted",
            Self::CrashLoop { .. } => "device_crash_loop",
            Self::NoPackage { .. } => "device_no_browser",
            Self::NoSettings { .. } => "device_not_configured",
            Self::NoLaunch { .. } => "device_browser_not_started",
            Self::NoSocket { .. } => "device_no_devtools",
            Self::NoAnswer { .. } => "device_devtools_silent",
        }
    }
}
