//! The one connection to a device's adbd.

use std::{io, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::Device;
use crate::{
    adb::{Adb, AdbError, AdbStream, Hello, Key},
    relay::Dialer,
    runtime::Tasks,
};

/// adbd greets at once, or is frozen.
const GREETING: Duration = Duration::from_secs(2);
/// How long a key that the device does not know is shown.
const SHOWN: Duration = Duration::from_secs(5);
/// How long it may take to open a service.
const OPENING: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Bridge {
    service: String,
    key: Option<Key>,
    tasks: Tasks,
    /// Held to look or to change, never across a wait.
    adb: Mutex<Option<Adb>>,
    /// Of those who find no connection one makes it.
    turn: Semaphore,
}

impl Bridge {
    pub(super) fn new(device: &Device, tasks: &Tasks) -> Self {
        Self {
            service: format!("localabstract:{}", device.at.socket),
            key: device.key.clone(),
            tasks: tasks.clone(),
            adb: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }

    /// A stream to the browser.
    pub(super) async fn open(&self, dialer: &Dialer) -> io::Result<AdbStream> {
        let adb = self.connection(dialer).await?;
        let opened = adb.open(&self.service, OPENING).await;
        opened.map_err(|error| {
            if matches!(error, AdbError::Silent { .. }) {
                // Frozen: whoever comes next greets anew, and finds out.
                self.forget(&adb);
            }
            failed(error)
        })
    }

    async fn connection(&self, dialer: &Dialer) -> io::Result<Adb> {
        if let Some(adb) = self.living() {
            return Ok(adb);
        }
        let turn = self.turn.acquire().await;
        let _turn = turn.map_err(io::Error::other)?;
        if let Some(adb) = self.living() {
            return Ok(adb);
        }
        let stream = dialer.connect().await?;
        // The agent has come in with it, so the device knows it, or asks about each connection.
        let hello = Hello {
            limit: GREETING,
            key: self.key.as_ref(),
            patience: SHOWN,
        };
        let adb = Adb::greet(stream, hello, &self.tasks).await;
        let adb = adb.map_err(failed)?;
        *self.adb.lock() = Some(adb.clone());
        Ok(adb)
    }

    fn living(&self) -> Option<Adb> {
        let adb = self.adb.lock().clone()?;
        adb.is_lost().is_none().then_some(adb)
    }

    fn forget(&self, which: &Adb) {
        let mut held = self.adb.lock();
        if held.as_ref().is_some_and(|adb| adb.is(which)) {
            *held = None;
        }
    }
}

fn failed(error: AdbError) -> io::Error {
    let kind = if matches!(error, AdbError::Refused(_)) {
        io::ErrorKind::ConnectionRefused
    } else {
        io::ErrorKind::Other
    };
    io::Error::new(kind, error)
}
