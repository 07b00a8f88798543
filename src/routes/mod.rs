//! Egress routes: which local address a session's connections leave from, and who holds it.
//!
//! An address is *usable* when a socket can be bound to it, *held* by up to `sessions_per_address`
//! instances, and *rests* for the cool-down after the last of them. Which one is given is decided by
//! [`book`], which is pure; what is held is journalled with the order that asked for it, before any
//! packet can leave. Without configured addresses every session shares the host's default one, and
//! nothing is held.

mod book;

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::Deserialize;
use tracing::warn;

pub use book::{Book, Exhausted, Hold, Occupancy};

use crate::{
    journal::{Journal, JournalError, LeaseRow},
    model::{Class, Classify, InstanceId},
    runtime::boot_now,
};

/// `[egress]` of the configuration: the addresses and the policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Local addresses that sessions leave from. Empty: the host's default address, shared by all.
    pub addresses: Vec<IpAddr>,
    /// How many sessions may hold one address at a time.
    pub sessions_per_address: u32,
    /// How long an address rests after its last session.
    #[serde(with = "crate::model::duration")]
    pub cooldown: Duration,
    /// CIDRs that pages may reach although they are in the built-in deny list.
    pub allow: Vec<ipnet::IpNet>,
    /// `ip:port` of the name servers; empty means those of the host.
    pub nameservers: Vec<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            sessions_per_address: 1,
            cooldown: Duration::ZERO,
            allow: Vec::new(),
            nameservers: Vec::new(),
        }
    }
}

/// Why there is no route.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// Every address is held, rests or cannot be used.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The boot clock cannot be read.
    #[error("the boot clock cannot be read")]
    Clock(#[from] io::Error),
}

impl Classify for RouteError {
    fn class(&self) -> Class {
        match self {
            Self::Exhausted(_) => Class::Exhausted,
            Self::Clock(_) => Class::Internal,
        }
    }
}

/// The addresses of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Routes {
    /// Held for a decision only, never across a wait.
    book: Arc<Mutex<Book>>,
    journal: Journal,
}

impl Routes {
    /// The configured addresses with what the journal knows of them.
    #[must_use]
    pub fn new(config: &Config, journal: Journal, known: &[LeaseRow]) -> Self {
        let mut book = Book::new(
            config.addresses.clone(),
            config.sessions_per_address,
            config.cooldown,
        );
        for row in known {
            book.restore(Hold {
                instance: row.instance,
                address: row.address,
                released: row.released,
            });
        }
        Self {
            book: Arc::new(Mutex::new(book)),
            journal,
        }
    }

    /// A hold that was found after the start, on an address that nobody else holds.
    pub fn restore(&self, row: &LeaseRow) {
        self.book.lock().restore(Hold {
            instance: row.instance,
            address: row.address,
            released: row.released,
        });
    }

    /// Whether sessions share the host's default address because none is configured.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.book.lock().is_empty()
    }

    /// Takes an address for `instance`; `None` stands for the host's default. The caller journals
    /// the row before anything uses it.
    ///
    /// # Errors
    /// [`RouteError::Exhausted`] says how many are held, rest, or cannot be bound.
    pub fn take(&self, instance: InstanceId) -> Result<Option<LeaseRow>, RouteError> {
        let now = boot_now()?;
        let mut book = self.book.lock();
        if book.is_empty() {
            return Ok(None);
        }
        let address = book.take(instance, now, bindable)?;
        Ok(Some(LeaseRow {
            instance,
            address,
            released: None,
        }))
    }

    /// The address that `instance` holds now.
    #[must_use]
    pub fn held_by(&self, instance: InstanceId) -> Option<IpAddr> {
        self.book.lock().held_by(instance)
    }

    /// What `from` holds is `to`'s from now on, without a rest. Nothing may have left from it yet.
    ///
    /// # Errors
    /// [`JournalError`] where that cannot be written down; the address is held all the same.
    pub async fn pass_on(&self, from: InstanceId, to: InstanceId) -> Result<(), JournalError> {
        let Some(address) = self.book.lock().pass_on(from, to) else {
            return Ok(());
        };
        let row = LeaseRow {
            instance: to,
            address,
            released: None,
        };
        self.journal.lease(row).await?;
        self.journal.leases_over(vec![from]).await
    }

    /// Gives an address back: it rests from now on. Idempotent; absence is success.
    ///
    /// # Errors
    /// [`JournalError`] where that cannot be written down; the address is free all the same.
    pub async fn release(&self, instance: InstanceId) -> Result<(), JournalError> {
        let Ok(now) = boot_now() else { return Ok(()) };
        let (released, rested) = {
            let mut book = self.book.lock();
            (book.release(instance, now), book.sweep(now))
        };
        if let Some(hold) = released.filter(|hold| !rested.contains(&hold.instance)) {
            self.journal
                .lease(LeaseRow {
                    instance: hold.instance,
                    address: hold.address,
                    released: hold.released,
                })
                .await?;
        }
        if rested.is_empty() {
            return Ok(());
        }
        self.journal.leases_over(rested).await
    }

    /// Every configured address as it is now.
    #[must_use]
    pub fn occupancy(&self) -> Vec<Occupancy> {
        match boot_now() {
            Ok(now) => self.book.lock().occupancy(now, bindable),
            Err(error) => {
                warn!(%error, "the boot clock cannot be read");
                Vec::new()
            }
        }
    }
}

/// The kernel's own answer to "is this address ours?".
fn bindable(address: IpAddr) -> bool {
    TcpListener::bind((address, 0)).is_ok()
}
