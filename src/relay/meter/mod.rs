//! What one instance has moved, in one page of shared memory.
//!
//! ```text
//!   relay: Meter ── stores ──▶ R/meter/<instance> (one page, mapped) ──▶ read() :agent
//! ```
//!
//! The relay is the one writer. The page outlives it: a relay that starts again opens the same file
//! and goes on counting, and after `kill -9` the agent still finds the last number that was stored.
//! Counts never go back, and after [`Meter::seal`] they do not move at all.
//!
//! The agent copies the page instead of mapping it, because the relay is the less trusted process
//! of the two: a file that it truncated would be a SIGBUS in whoever has it mapped.

mod page;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::atomic::Ordering,
};

use nix::{
    fcntl::posix_fallocate,
    libc::{O_NOFOLLOW, O_NONBLOCK},
};
use parking_lot::RwLock;

use self::page::{LENGTH, MAGIC, Page, Reading, SIZE, VERSION, Word, invalid};
use crate::{
    model::{InstanceId, Traffic},
    runtime::{boot_id, boot_now},
};

/// What goes up and down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Open {
    /// CDP clients.
    pub clients: u64,
    /// Connections of the outer leg.
    pub connections: u64,
}

/// The counters of one instance; the relay is the one writer.
#[derive(Debug)]
pub struct Meter {
    page: Page,
    /// Set once. Counting holds it shared, so that sealing waits for every count that has begun.
    sealed: RwLock<bool>,
}

impl Meter {
    /// Opens the counters file of `instance` and goes on from its counts, or makes it.
    ///
    /// # Errors
    /// Whatever the file system says; `InvalidData` for a file that is not this instance's or that
    /// belongs to another boot.
    pub fn create(path: &Path, instance: InstanceId) -> io::Result<Self> {
        let boot = boot_id()?.as_u128();
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Self::adopt(&file, instance, boot),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::make(path, instance, boot)
            }
            Err(error) => Err(error),
        }
    }

    /// A meter without a file.
    ///
    /// # Panics
    /// When the kernel has no page left to give.
    #[must_use]
    pub fn detached() -> Self {
        Self::on(Page::anonymous().expect("one anonymous page can be mapped"))
    }

    fn on(page: Page) -> Self {
        Self {
            page,
            sealed: RwLock::new(false),
        }
    }

    /// The file gets its name only when it is whole, so that no reader and no later relay ever
    /// meets half a header.
    fn make(path: &Path, instance: InstanceId, boot: u128) -> io::Result<Self> {
        let draft = path.with_extension("new");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        posix_fallocate(&file, 0, LENGTH)?;
        let meter = Self::on(Page::map(&file)?);
        let header = [
            (Word::Version, VERSION),
            (Word::InstanceHigh, high(instance.as_u128())),
            (Word::InstanceLow, low(instance.as_u128())),
            (Word::BootHigh, high(boot)),
            (Word::BootLow, low(boot)),
            (Word::Magic, MAGIC),
        ];
        for (word, value) in header {
            meter.store(word, value);
        }
        fs::rename(&draft, path)?;
        Ok(meter)
    }

    fn adopt(file: &File, instance: InstanceId, boot: u128) -> io::Result<Self> {
        let reading = copy(file)?;
        if reading.instance != instance.as_u128() {
            return Err(invalid("the counters file of another instance"));
        }
        if reading.boot != boot {
            return Err(invalid("a counters file of another boot"));
        }
        let meter = Self::on(Page::map(file)?);
        // Whatever was open died with the writer before this one.
        meter.store(Word::Open, 0);
        if meter.load(Word::Clients) != 0 {
            meter.store(Word::Clients, 0);
            meter.stamp_disconnect();
        }
        Ok(meter)
    }

    /// Bytes written to the outer leg.
    pub fn add_up(&self, bytes: u64) {
        self.count(Word::Up, bytes);
    }

    /// Bytes read from the outer leg.
    pub fn add_down(&self, bytes: u64) {
        self.count(Word::Down, bytes);
    }

    /// Bytes received from a CDP client.
    pub fn add_cdp_up(&self, bytes: u64) {
        self.count(Word::CdpUp, bytes);
    }

    /// Bytes sent to a CDP client.
    pub fn add_cdp_down(&self, bytes: u64) {
        self.count(Word::CdpDown, bytes);
    }

    /// A connection of the outer leg was made.
    pub fn connection_opened(&self) {
        self.count(Word::Opened, 1);
        self.page.word(Word::Open).fetch_add(1, Ordering::Relaxed);
    }

    /// A connection of the outer leg is gone.
    pub fn connection_closed(&self) {
        self.page.word(Word::Open).fetch_sub(1, Ordering::Relaxed);
    }

    /// A CDP client came.
    pub fn client_opened(&self) {
        self.page
            .word(Word::Clients)
            .fetch_add(1, Ordering::Relaxed);
    }

    /// A CDP client left.
    pub fn client_closed(&self) {
        self.stamp_disconnect();
        self.page
            .word(Word::Clients)
            .fetch_sub(1, Ordering::Relaxed);
    }

    /// Connections of the outer leg that are open now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.load(Word::Open)
    }

    /// The counts now.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            up: self.load(Word::Up),
            down: self.load(Word::Down),
            cdp_up: self.load(Word::CdpUp),
            cdp_down: self.load(Word::CdpDown),
            connections: self.load(Word::Opened),
        }
    }

    /// Goes on from no less than `known`: a counters file that was lost took counts along that others saw.
    pub fn raise(&self, known: Traffic) {
        let sealed = self.sealed.read();
        if *sealed {
            return;
        }
        for (word, least) in [
            (Word::Up, known.up),
            (Word::Down, known.down),
            (Word::CdpUp, known.cdp_up),
            (Word::CdpDown, known.cdp_down),
            (Word::Opened, known.connections),
        ] {
            self.page.word(word).fetch_max(least, Ordering::Relaxed);
        }
    }

    /// From now on no count moves; when this returns, none is moving any more.
    pub fn seal(&self) {
        *self.sealed.write() = true;
    }

    fn count(&self, word: Word, by: u64) {
        let sealed = self.sealed.read();
        if !*sealed {
            self.page.word(word).fetch_add(by, Ordering::Relaxed);
        }
    }

    fn stamp_disconnect(&self) {
        if let Ok(now) = boot_now() {
            self.store(Word::LastDisconnect, now.micros);
        }
    }

    fn load(&self, word: Word) -> u64 {
        self.page.word(word).load(Ordering::Acquire)
    }

    fn store(&self, word: Word, value: u64) {
        self.page.word(word).store(value, Ordering::Release);
    }
}

/// The agent's side: the counts in a counters file, whoever writes it.
///
/// # Errors
/// Whatever the file system says; `InvalidData` for anything but a counters file.
pub fn read(path: &Path) -> io::Result<Traffic> {
    let file = open(path)?;
    // The kernel promises no atomicity between a copy and a store into the same word. Each count
    // only grows, so of two copies the smaller is never ahead of the truth by a torn word.
    let (first, second) = (copy(&file)?.traffic, copy(&file)?.traffic);
    Ok(Traffic {
        up: first.up.min(second.up),
        down: first.down.min(second.down),
        cdp_up: first.cdp_up.min(second.cdp_up),
        cdp_down: first.cdp_down.min(second.cdp_down),
        connections: first.connections.min(second.connections),
    })
}

/// What is open now, by the same file.
///
/// # Errors
/// As for [`read`].
pub fn open_now(path: &Path) -> io::Result<Open> {
    Ok(copy(&open(path)?)?.open)
}

/// In place of its file the relay's user could put a link, or a pipe that never opens.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path)
}

fn copy(file: &File) -> io::Result<Reading> {
    let found = file.metadata()?;
    if !found.is_file() || found.len() != SIZE as u64 {
        return Err(invalid("not the size of a counters file"));
    }
    let mut page = [0; SIZE];
    file.read_exact_at(&mut page, 0)?;
    Reading::parse(&page)
}

const fn high(wide: u128) -> u64 {
    (wide >> 64) as u64
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is the point")]
const fn low(wide: u128) -> u64 {
    wide as u64
}

#[cfg(test)]
#[path = "meter_tests.rs"]
mod tests;
