//! What systemd is told. Whoever manages us may not be systemd: then nothing is told.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// Tells systemd; a no-op under any other manager.
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "systemd was not told");
    }
}

/// Asks for `more` time from now on for the state that the service is in: starting or stopping.
pub fn extend_timeout(more: Duration) {
    let micros = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::ExtendTimeoutUsec(micros)]);
}

/// How long systemd waits for a sign of life before it replaces us; `None` when it does not.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}
