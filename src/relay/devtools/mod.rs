//! The way to a browser's DevTools: straight through a socket made in its namespace, or on a device through
//! its adbd.
//!
//! ```text
//!   browser in a container:  socket ─────────────────────▶ 127.0.0.1:9222
//!   browser on a device:     socket ─▶ adbd ─▶ stream ─▶ localabstract:chrome_devtools_remote
//! ```
//!
//! The connection to adbd is the relay's own, made through the same kind of socket: it outlives the agent,
//! and one is shared by everybody, because some devices serve one host at a time. One that is lost is made
//! again by whoever comes next.

mod bridge;
mod stream;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::OwnedFd,
};

use self::bridge::Bridge;
pub(super) use self::stream::{ReadHalf, Stream, WriteHalf, split};
use super::Dialer;
use crate::{adb::Key, model::OnDevice, runtime::Tasks};

/// A device, to whoever dials its browser.
#[derive(Debug, Clone)]
pub struct Device {
    /// Where the browser is.
    pub at: OnDevice,
    /// The key that is shown where its adbd demands one.
    pub key: Option<Key>,
}

/// The way to one browser.
#[derive(Debug)]
pub struct DevTools {
    dialer: Dialer,
    bridge: Option<Bridge>,
}

impl DevTools {
    /// A browser that listens at `target` in its container.
    #[must_use]
    pub fn direct(target: SocketAddr, sockets: impl IntoIterator<Item = OwnedFd>) -> Self {
        Self {
            dialer: Dialer::new(target, sockets),
            bridge: None,
        }
    }

    /// A browser on a device; its connection to adbd lives in `tasks`.
    #[must_use]
    pub fn on_device(
        device: &Device,
        sockets: impl IntoIterator<Item = OwnedFd>,
        tasks: &Tasks,
    ) -> Self {
        let adbd = SocketAddr::from((Ipv4Addr::LOCALHOST, device.at.adb_port));
        Self {
            dialer: Dialer::new(adbd, sockets),
            bridge: Some(Bridge::new(device, tasks)),
        }
    }

    /// A connection of its own to DevTools; waits for a socket where none is left. Cancel-safe, but a
    /// cancelled one may use a socket up.
    ///
    /// # Errors
    /// Refused while nothing listens; otherwise whatever the sockets or adbd say.
    pub async fn connect(&self) -> io::Result<Stream> {
        match &self.bridge {
            None => self.dialer.connect().await.map(Stream::Left),
            Some(bridge) => bridge.open(&self.dialer).await.map(Stream::Right),
        }
    }

    /// Whether the browser is a device's own, and no flag of ours made it anything.
    #[must_use]
    pub const fn is_device(&self) -> bool {
        self.bridge.is_some()
    }

    /// More sockets, made in the same namespace.
    pub fn refill(&self, sockets: impl IntoIterator<Item = OwnedFd>) {
        self.dialer.refill(sockets);
    }

    /// How many sockets are left.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.dialer.spare()
    }

    /// Returns when few sockets are left.
    pub async fn running_low(&self) {
        self.dialer.running_low().await;
    }
}
