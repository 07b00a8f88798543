//! The three kinds of device. They differ in data: what they need, where their adbd listens, how long they
//! may boot, what they are given. Everything else is one driver.

use std::time::Duration;

use crate::{host::Need, model::Substrate, netns::Browser};

const GIB: u64 = 1 << 30;

/// What is usual for one kind; an operator's setting comes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Which.
    pub substrate: Substrate,
    /// What it needs of the host.
    pub needs: &'static [Need],
    /// Where its adbd listens, on 127.0.0.1 of its own namespace.
    pub adb_port: u16,
    /// Where its browser is, as the namespace sees it.
    pub browser: Browser,
    /// Where that finds the session's egress listener.
    pub proxy: &'static str,
    /// From the start of the container to `sys.boot_completed`.
    pub boot: Duration,
    /// Memory of the container, bytes.
    pub memory_bytes: u64,
    /// Thousandths of a core.
    pub cpu_millis: u32,
}

const EMULATOR: Kind = Kind {
    substrate: Substrate::Emulator,
    needs: &[Need::Kvm],
    adb_port: 5555,
    // QEMU's network is sockets of the namespace, and has its loopback under this address.
    browser: Browser::Inside,
    proxy: "10.0.2.2:3128",
    boot: Duration::from_secs(240),
    memory_bytes: 6 * GIB,
    cpu_millis: 4_000,
};

const REDROID: Kind = Kind {
    substrate: Substrate::Redroid,
    needs: &[Need::Binder, Need::Privileged],
    adb_port: 5555,
    browser: Browser::Inside,
    proxy: "127.0.0.1:3128",
    boot: Duration::from_secs(90),
    memory_bytes: 3 * GIB,
    cpu_millis: 4_000,
};

const CUTTLEFISH: Kind = Kind {
    substrate: Substrate::Cuttlefish,
    needs: &[
        Need::Kvm,
        Need::Tun,
        Need::VhostNet,
        Need::VhostVsock,
        Need::NetAdmin,
    ],
    adb_port: 6520,
    // The gateway of its mobile network, which is the address of the tap in the namespace.
    browser: Browser::BehindTap,
    proxy: "192.168.97.1:3128",
    boot: Duration::from_secs(500),
    memory_bytes: 6 * GIB,
    cpu_millis: 4_000,
};

impl Kind {
    /// Every kind.
    pub const ALL: [&'static Self; 3] = [&EMULATOR, &REDROID, &CUTTLEFISH];

    /// The kind of a substrate; `None` for one that is no device.
    #[must_use]
    pub fn of(substrate: Substrate) -> Option<&'static Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.substrate == substrate)
    }
}
