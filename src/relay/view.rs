//! What the gateway sees of a session, and how it reports its clients back.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use secrecy::SecretString;
use tokio::sync::watch;

use super::{DevTools, meter::Meter, supervisor::Supervisor};
use crate::{
    model::{BootInstant, EndReason, Ending, SessionId},
    runtime::boot_now,
};

/// A session from the gateway's side; published over a `watch` channel, forward only.
#[derive(Debug, Clone)]
pub enum SessionView {
    /// Ordered, not ready yet: hold clients.
    Expected {
        /// Clients are held no longer than this.
        until: BootInstant,
        /// What clients must present.
        token: Option<SecretString>,
    },
    /// Serving.
    Live(Arc<Live>),
    /// The end is decided, the counters are being fixed: cut every client with this reason.
    Cutting(EndReason),
    /// Over.
    Ended(Ending),
}

/// All that serving one live session takes.
#[derive(Debug)]
pub struct Live {
    /// Whose it is.
    pub session: SessionId,
    /// Toward DevTools.
    pub devtools: Arc<DevTools>,
    /// The counters.
    pub meter: Arc<Meter>,
    /// What keeps it a phone.
    pub supervisor: Supervisor,
    /// What clients must present.
    pub token: Option<SecretString>,
    /// The attached clients.
    pub clients: Clients,
}

/// The browser's own answer to `/json/version`.
#[derive(Debug)]
pub struct Browser {
    /// `Chrome/156.0.8078.79`.
    pub product: String,
    /// The User-Agent that it sends.
    pub user_agent: String,
    /// Path of its own WebSocket: `/devtools/browser/<guid>`, read, never built.
    pub ws_path: String,
    /// The whole answer, for rewriting.
    pub version: serde_json::Map<String, serde_json::Value>,
}

/// Counts CDP connections: what the idle clock runs on.
#[derive(Clone)]
pub struct Clients {
    meter: Arc<Meter>,
    open: Arc<watch::Sender<u32>>,
    last_left: Arc<AtomicU64>,
}

/// One attached client; dropping it is the disconnect.
#[derive(Debug)]
pub struct ClientGuard(Clients);

impl Clients {
    /// None attached; idle since now.
    #[must_use]
    pub fn new(meter: Arc<Meter>) -> Self {
        let clients = Self {
            meter,
            open: Arc::new(watch::Sender::new(0)),
            last_left: Arc::new(AtomicU64::new(0)),
        };
        clients.stamp();
        clients
    }

    /// One more client, unless `limit` are attached already.
    #[must_use]
    pub fn enter(&self, limit: u32) -> Option<ClientGuard> {
        let entered = self.open.send_if_modified(|open| {
            let free = *open < limit;
            if free {
                *open += 1;
            }
            free
        });
        entered.then(|| {
            self.meter.client_opened();
            ClientGuard(self.clone())
        })
    }

    /// The number of attached clients now.
    #[must_use]
    pub fn open(&self) -> u32 {
        *self.open.borrow()
    }

    /// The number of attached clients, as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u32> {
        self.open.subscribe()
    }

    /// When the last client left (or the session went live), microseconds of `CLOCK_BOOTTIME`.
    #[must_use]
    pub fn idle_since_micros(&self) -> u64 {
        self.last_left.load(Ordering::Acquire)
    }

    fn stamp(&self) {
        let micros = boot_now().map_or(0, |now| now.micros);
        self.last_left.store(micros, Ordering::Release);
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients")
            .field("open", &*self.open.borrow())
            .finish_non_exhaustive()
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.0.stamp();
        self.0.meter.client_closed();
        self.0
            .open
            .send_modify(|open| *open = open.saturating_sub(1));
    }
}
