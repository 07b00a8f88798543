//! systemd's descriptor store: what stays open while nobody of us runs.
//!
//! A descriptor that is stored under a name is one that systemd holds as well, until it is removed or the
//! service is stopped; the next process of the service finds it (`LISTEN_FDS`). A restart, a crash and the
//! watchdog stop no service. Under any other manager, and for a role that keeps nothing, all of this does
//! nothing.

use std::{
    collections::HashMap,
    env, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use listenfd::ListenFd;
use parking_lot::Mutex;
use sd_notify::NotifyState;
use tracing::{debug, warn};

/// The store of this service. Cheap to clone; the default one keeps nothing.
#[derive(Debug, Clone, Default)]
pub struct DescriptorStore {
    /// What an earlier process stored and nobody took yet; `None` without a store.
    found: Option<Arc<Mutex<HashMap<String, OwnedFd>>>>,
}

impl DescriptorStore {
    /// The store, with the listening sockets that an earlier process of this service left in it. To be called
    /// once, before there is a second thread: it changes the environment.
    ///
    /// # Errors
    /// When what systemd says of them makes no sense.
    pub fn of_this_service() -> io::Result<Self> {
        if env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self::default());
        }
        let found = Some(Arc::new(Mutex::new(sockets()?)));
        Ok(Self { found })
    }

    /// What was stored under `name` by an earlier process; it stays in the store as well.
    #[must_use]
    pub fn take(&self, name: &str) -> Option<OwnedFd> {
        self.found.as_ref()?.lock().remove(name)
    }

    /// Stores a duplicate of `fd`. A store that is full, or cannot be told, keeps one less: nothing fails.
    pub async fn put(&self, name: &str, fd: BorrowedFd<'_>) {
        if self.found.is_none() {
            return;
        }
        match fd.try_clone_to_owned() {
            Ok(fd) => tell(name, Some(fd)).await,
            Err(error) => warn!(name, %error, "a descriptor is not stored"),
        }
    }

    /// Has systemd close what is stored under `name`; nothing of the name is fine.
    pub async fn remove(&self, name: &str) {
        if let Some(found) = &self.found {
            drop(found.lock().remove(name));
            tell(name, None).await;
        }
    }

    /// Removes all that an earlier process stored and nobody took.
    pub async fn remove_the_rest(&self) {
        let rest = self
            .found
            .as_ref()
            .map(|found| std::mem::take(&mut *found.lock()));
        for name in rest.unwrap_or_default().into_keys() {
            debug!(name, "stored for nobody: removed");
            tell(&name, None).await;
        }
    }
}

/// Beside the reactor: systemd may be busy.
async fn tell(name: &str, stored: Option<OwnedFd>) {
    let owned = name.to_owned();
    let told = tokio::task::spawn_blocking(move || {
        let name = NotifyState::FdName(&owned);
        match stored {
            // A listener is never looked at for having hung up.
            Some(fd) => {
                let words = [NotifyState::FdStore, name, NotifyState::Custom("FDPOLL=0")];
                sd_notify::notify_with_fds(&words, &[fd.as_fd()])
            }
            None => sd_notify::notify(&[NotifyState::FdStoreRemove, name]),
        }
    });
    let told = told.await;
    if let Err(error) = told.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        warn!(name, %error, "systemd's descriptor store was not told");
    }
}

/// What was handed to this process, by name; whatever is no TCP socket stays where it is.
fn sockets() -> io::Result<HashMap<String, OwnedFd>> {
    // Both read the same list: the one knows names, the other makes descriptors ours.
    let names: Vec<_> = sd_notify::listen_fds_with_names()?.collect();
    let mut handed = ListenFd::from_env();
    let mut found = HashMap::new();
    for (index, (_, name)) in names.into_iter().enumerate() {
        if let Ok(Some(socket)) = handed.take_tcp_listener(index) {
            found.insert(name, socket.into());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// An instance's id, and what parts it from the next.
    const NAME: usize = 37;

    #[test]
    fn every_place_of_the_store_can_be_told_to_the_next_start() {
        let unit = include_str!("../../systemd/chaser-node.service");
        let places = unit
            .lines()
            .find_map(|line| line.strip_prefix("FileDescriptorStoreMax="))
            .unwrap();
        let names = "x".repeat(NAME * places.parse::<usize>().unwrap());
        // The kernel refuses to start a program with a variable that is too long.
        let started = Command::new("true").env("LISTEN_FDNAMES", names).status();
        assert!(started.unwrap().success());
    }
}
