//! `[host]` of the configuration: how often the host is looked at, and what counts as bad.

use std::time::Duration;

use serde::Deserialize;

/// `[host]` of the configuration. Of each pair the first stops admission and the second is critical.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often everything is measured.
    #[serde(with = "crate::model::duration")]
    pub sample_interval: Duration,
    /// For how long a measure must be better before its condition is.
    #[serde(with = "crate::model::duration")]
    pub recovery: Duration,
    /// At least this long passes between two sessions that are ended one by one.
    #[serde(with = "crate::model::duration")]
    pub shed_interval: Duration,
    /// How long Docker may be silent.
    #[serde(with = "crate::model::duration")]
    pub docker_degraded: Duration,
    /// How long Docker may be silent before every session is ended.
    #[serde(with = "crate::model::duration")]
    pub docker_critical: Duration,
    /// Available memory, percent of the host's.
    pub memory_degraded_percent: u32,
    /// Available memory, percent of the host's.
    pub memory_critical_percent: u32,
    /// PSI of memory, `full avg10`, percent of time.
    pub pressure_degraded_percent: u32,
    /// PSI of memory, `full avg10`, percent of time.
    pub pressure_critical_percent: u32,
    /// Bytes free in the state directory, the runtime directory and Docker's.
    pub disk_degraded_bytes: u64,
    /// Bytes free in the state directory, the runtime directory and Docker's.
    pub disk_critical_bytes: u64,
    /// Inodes free there, percent.
    pub inodes_degraded_percent: u32,
    /// Inodes free there, percent.
    pub inodes_critical_percent: u32,
    /// File descriptors free, percent of the process's limit and of the host's.
    pub descriptors_degraded_percent: u32,
    /// File descriptors free, percent of the process's limit and of the host's.
    pub descriptors_critical_percent: u32,
    /// Threads that can still be made, percent of the host's limit.
    pub pids_degraded_percent: u32,
    /// Threads that can still be made, percent of the host's limit.
    pub pids_critical_percent: u32,
    /// A step of the wall clock that is shown.
    #[serde(with = "crate::model::duration")]
    pub clock_jump: Duration,
    /// How long the relay may be silent.
    #[serde(with = "crate::model::duration")]
    pub relay_degraded: Duration,
    /// How long the relay may be silent before it is killed and started again.
    #[serde(with = "crate::model::duration")]
    pub relay_critical: Duration,
    /// How long an egress address may be gone from the host.
    #[serde(with = "crate::model::duration")]
    pub route_degraded: Duration,
    /// How long an egress address may be gone before the sessions on it are ended.
    #[serde(with = "crate::model::duration")]
    pub route_critical: Duration,
    /// How long the removal of an instance may take.
    #[serde(with = "crate::model::duration")]
    pub teardown_degraded: Duration,
    /// How long the removal of an instance may take before no more are made.
    #[serde(with = "crate::model::duration")]
    pub teardown_critical: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sample_interval: Duration::from_secs(1),
            recovery: Duration::from_secs(5),
            shed_interval: Duration::from_secs(3),
            docker_degraded: Duration::from_secs(5),
            docker_critical: Duration::from_secs(60),
            memory_degraded_percent: 10,
            memory_critical_percent: 4,
            pressure_degraded_percent: 20,
            pressure_critical_percent: 60,
            disk_degraded_bytes: 1 << 30,
            disk_critical_bytes: 128 << 20,
            inodes_degraded_percent: 5,
            inodes_critical_percent: 1,
            descriptors_degraded_percent: 15,
            descriptors_critical_percent: 5,
            pids_degraded_percent: 15,
            pids_critical_percent: 5,
            clock_jump: Duration::from_secs(2),
            relay_degraded: Duration::from_secs(3),
            relay_critical: Duration::from_secs(10),
            route_degraded: Duration::from_secs(2),
            route_critical: Duration::from_secs(30),
            teardown_degraded: Duration::from_secs(30),
            teardown_critical: Duration::from_secs(300),
        }
    }
}

impl Config {
    /// The pairs of which the first must not be looser than the second, by key: (first, second,
    /// whether the first is the smaller one).
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, u128, u128, bool); 10] {
        let percent = |first: u32, second: u32| (u128::from(first), u128::from(second));
        let millis = |first: Duration, second: Duration| (first.as_millis(), second.as_millis());
        let below = |key, (first, second)| (key, first, second, false);
        let above = |key, (first, second)| (key, first, second, true);
        [
            above(
                "host.docker_critical",
                millis(self.docker_degraded, self.docker_critical),
            ),
            below(
                "host.memory_critical_percent",
                percent(self.memory_degraded_percent, self.memory_critical_percent),
            ),
            above(
                "host.pressure_critical_percent",
                percent(
                    self.pressure_degraded_percent,
                    self.pressure_critical_percent,
                ),
            ),
            below(
                "host.disk_critical_bytes",
                (
                    self.disk_degraded_bytes.into(),
                    self.disk_critical_bytes.into(),
                ),
            ),
            below(
                "host.inodes_critical_percent",
                percent(self.inodes_degraded_percent, self.inodes_critical_percent),
            ),
            below(
                "host.descriptors_critical_percent",
                percent(
                    self.descriptors_degraded_percent,
                    self.descriptors_critical_percent,
                ),
            ),
            below(
                "host.pids_critical_percent",
                percent(self.pids_degraded_percent, self.pids_critical_percent),
            ),
            above(
                "host.relay_critical",
                millis(self.relay_degraded, self.relay_critical),
            ),
            above(
                "host.route_critical",
                millis(self.route_degraded, self.route_critical),
            ),
            above(
                "host.teardown_critical",
                millis(self.teardown_degraded, self.teardown_critical),
            ),
        ]
    }
}
