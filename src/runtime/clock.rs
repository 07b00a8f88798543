//! The two clocks: `CLOCK_BOOTTIME` for deadlines, the wall clock for display.

use std::{io, sync::OnceLock};

use rustix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;

use crate::model::{BootId, BootInstant};

/// The id of this boot.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_id() -> io::Result<BootId> {
    static BOOT: OnceLock<BootId> = OnceLock::new();
    if let Some(id) = BOOT.get() {
        return Ok(*id);
    }
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let id = text.parse().map_err(io::Error::other)?;
    Ok(*BOOT.get_or_init(|| id))
}

/// This moment on `CLOCK_BOOTTIME`.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_now() -> io::Result<BootInstant> {
    let now = clock_gettime(ClockId::Boottime);
    let secs = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Ok(BootInstant {
        boot: boot_id()?,
        micros: secs * 1_000_000 + nanos / 1_000,
    })
}

/// The wall clock, cut to microseconds: what journal and API can carry without loss.
#[must_use]
pub fn wall_now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.microsecond() * 1_000)
        .unwrap_or(now)
}
