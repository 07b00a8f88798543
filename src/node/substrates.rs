//! What can run here, and how much of it: by what the host can do, found out by using it.

use std::{path::Path, sync::Arc};

use super::{
    Config, Node, NodeError,
    admission::{self, Machine},
};
use crate::{
    host::{Ability, Supply},
    instance::{
        self,
        substrate::android::{self, Settled},
    },
    journal::SessionRow,
    model::{Phase, SessionSpec, Substrate},
    session::Session,
};

/// One kind of what can run under a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubstrateStatus {
    /// Which.
    pub substrate: Substrate,
    /// Sessions on it that may live at once.
    pub capacity: u32,
    /// Why that is none; empty where it is some.
    pub reason: String,
}

/// What a host could run as it is configured, whoever asks. Opens a handful of device nodes.
#[must_use]
pub fn substrates(
    node: &Config,
    instance: &instance::Config,
    devices: &android::Config,
) -> Vec<SubstrateStatus> {
    let max = admission::measured(node, instance).sessions;
    all(node, devices, &Found::now(), max)
}

/// What there is on a host.
struct Found {
    ability: Ability,
    machine: Machine,
}

impl Found {
    fn now() -> Self {
        Self {
            ability: Ability::look(Path::new("/")),
            machine: Machine::now(),
        }
    }
}

/// Every kind, in the order of the enumeration.
fn all(
    config: &Config,
    devices: &android::Config,
    found: &Found,
    max: u32,
) -> Vec<SubstrateStatus> {
    let bears = |settled: &Settled| {
        let guest = (settled.memory_bytes, settled.cpu_millis.into());
        let guests = admission::guests(found.machine, guest, config.cpu_overcommit.into());
        match settled.supply(&found.ability)? {
            Supply::Any => guests,
            Supply::Some(few) => Ok(guests?.min(few)),
        }
    };
    let one = |substrate| {
        let settled = devices.settled(substrate);
        let bears = settled.as_ref().map_or(Ok(max), bears);
        let (capacity, reason) = match bears {
            Ok(some) => (max.min(some), String::new()),
            Err(reason) => (0, reason),
        };
        SubstrateStatus {
            substrate,
            capacity,
            reason,
        }
    };
    Substrate::ALL.map(one).into()
}

impl Node {
    /// What can run here now.
    #[must_use]
    pub fn substrates(&self) -> Vec<SubstrateStatus> {
        let devices = &self.instances().tools().devices;
        all(
            &self.inner.config,
            devices,
            &Found::now(),
            self.max_sessions(),
        )
    }

    /// Sessions on a substrate that live.
    pub(super) fn live_on(&self, substrate: Substrate) -> usize {
        let all = self.sessions().all();
        let rows = all.iter().map(Session::row);
        let on_it = |row: &Arc<SessionRow>| row.spec.substrate == substrate;
        rows.filter(|row| row.phase != Phase::Ended && on_it(row))
            .count()
    }

    /// Whether an order is for what can run here, and asks for a life that is long enough for it; answers
    /// how many places its kind has.
    pub(super) fn runs(&self, spec: &SessionSpec) -> Result<u32, NodeError> {
        let substrate = spec.substrate;
        let Some(settled) = self.instances().tools().devices.settled(substrate) else {
            return Ok(self.max_sessions());
        };
        let mut seen = self.substrates().into_iter();
        let capacity = match seen.find(|one| one.substrate == substrate) {
            Some(one) if one.capacity > 0 => one.capacity,
            other => {
                let reason = other.map_or_else(String::new, |one| one.reason);
                return Err(NodeError::NoSubstrate { substrate, reason });
            }
        };
        let least = settled.least_ttl();
        if spec.ttl < least {
            return Err(NodeError::TooShort { substrate, least });
        }
        Ok(capacity)
    }

    /// Whether the host bears one more of a kind that has so many places, beside what those run on that
    /// live; answers the memory that it is short of.
    pub(super) fn bears_one_more(
        &self,
        substrate: Substrate,
        living: &[Substrate],
        capacity: u32,
    ) -> Result<Option<Short>, NodeError> {
        let Some(settled) = self.instances().tools().devices.settled(substrate) else {
            return Ok(None);
        };
        let mut taken = living.iter().filter(|on| **on == substrate).count();
        if capacity < self.max_sessions() {
            // The kind itself has few places: what is parked holds its own, and what is removed does
            // until it is gone. Else both are counted with all the rest, and what is parked gives way.
            taken += self.pool().kept_on(substrate) + self.destroying_on(substrate);
        }
        if u32::try_from(taken).unwrap_or(u32::MAX) >= capacity {
            return Err(NodeError::Full { max: capacity });
        }
        let spare = self.guard().spare_memory();
        Ok(Short::of(substrate, spare, settled.memory_bytes))
    }
}

/// Memory that there is too little of for another device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short {
    substrate: Substrate,
    /// Bytes that are left.
    left: u64,
    /// Bytes that it is given: a guest takes all of them.
    needed: u64,
}

impl Short {
    fn of(substrate: Substrate, spare: Option<u64>, needed: u64) -> Option<Self> {
        let left = spare.filter(|left| *left < needed)?;
        Some(Self {
            substrate,
            left,
            needed,
        })
    }

    /// How many bytes more there would have to be.
    pub(super) const fn bytes(self) -> u64 {
        self.needed.saturating_sub(self.left)
    }
}

impl From<Short> for NodeError {
    fn from(short: Short) -> Self {
        Self::NoMemory {
            substrate: short.substrate,
            left: short.left,
            needed: short.needed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_short_of_what_its_whole_memory_is_above_what_is_left() {
        let short = |spare| Short::of(Substrate::Redroid, spare, 6).map(Short::bytes);
        assert_eq!(short(Some(6)), None);
        assert_eq!(short(None), None);
        assert_eq!(short(Some(5)), Some(1));
    }

    #[test]
    fn what_a_bare_host_cannot_run_is_listed_with_its_reason() {
        let found = Found {
            ability: Ability::default(),
            machine: Machine {
                memory: 25 << 30,
                cpu_millis: 8_000,
                threads: 1_000_000,
            },
        };
        let config = Config::default();
        let mut devices = android::Config::default();
        let listed = all(&config, &devices, &found, 7);
        let kinds: Vec<_> = listed.iter().map(|one| one.substrate).collect();
        assert_eq!(kinds, Substrate::ALL);
        let chromium = &listed[0];
        assert_eq!((chromium.capacity, chromium.reason.as_str()), (7, ""));
        for device in &listed[1..] {
            assert_eq!(device.capacity, 0);
            assert!(!device.reason.is_empty());
        }

        // One that needs nothing but memory has it, or not.
        devices.redroid.needs = Vec::new();
        devices.redroid.image = "x".to_owned();
        let redroid = |devices: &_| all(&config, devices, &found, 7).remove(2);
        assert_eq!(
            redroid(&devices).capacity,
            7,
            "eight guests, seven sessions"
        );
        devices.redroid.memory_bytes = 8 << 30;
        assert_eq!(redroid(&devices).capacity, 3);
        devices.redroid.memory_bytes = 32 << 30;
        let none = redroid(&devices);
        assert_eq!(none.capacity, 0);
        assert!(none.reason.contains("32768 MiB"), "{none:?}");
    }
}
