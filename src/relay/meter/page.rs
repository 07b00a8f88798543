//! The page itself: which word means what, and the one place where memory is seen as atomics.

use std::{fs::File, io, sync::atomic::AtomicU64};

use memmap2::{MmapOptions, MmapRaw};

use super::Open;
use crate::model::Traffic;

/// Size of a counters file: one page of every machine that this runs on.
pub(super) const SIZE: usize = 4096;
/// The same, as file systems count.
pub(super) const LENGTH: i64 = 4096;
const WORDS: usize = SIZE / size_of::<u64>();
/// `chasermt`, as the bytes appear in the file.
pub(super) const MAGIC: u64 = u64::from_ne_bytes(*b"chasermt");
/// Raised when a word changes its meaning; new words at the end do not need it.
pub(super) const VERSION: u64 = 1;

/// A word of the page. Everything before [`Word::Up`] is written once, before the file gets its
/// name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word {
    Magic = 0,
    Version = 1,
    InstanceHigh = 2,
    InstanceLow = 3,
    BootHigh = 4,
    BootLow = 5,
    Up = 6,
    Down = 7,
    CdpUp = 8,
    CdpDown = 9,
    /// Connections of the outer leg, ever.
    Opened = 10,
    /// Connections of the outer leg, now.
    Open = 11,
    /// CDP clients, now.
    Clients = 12,
    /// When the last CDP client left, microseconds of `CLOCK_BOOTTIME`; 0 until one has.
    LastDisconnect = 13,
}

/// A mapped page; lives as long as it is used, whatever happens to the file's name.
#[derive(Debug)]
pub(super) struct Page(MmapRaw);

impl Page {
    /// Maps a file whose blocks are allocated: storing into a hole of a full disk is SIGBUS.
    pub(super) fn map(file: &File) -> io::Result<Self> {
        MmapOptions::new().len(SIZE).map_raw(file).map(Self)
    }

    /// A page without a file.
    pub(super) fn anonymous() -> io::Result<Self> {
        MmapOptions::new()
            .len(SIZE)
            .map_anon()
            .map(|map| Self(map.into()))
    }

    /// The word's cell.
    pub(super) fn word(&self, word: Word) -> &AtomicU64 {
        &self.words()[word as usize]
    }

    #[expect(
        unsafe_code,
        reason = "shared memory can only be seen as atomics through a pointer"
    )]
    fn words(&self) -> &[AtomicU64] {
        let start = self.0.as_mut_ptr().cast::<AtomicU64>();
        // SAFETY: the mapping is SIZE bytes (both constructors ask for exactly that), page-aligned,
        // readable and writable, and lives as long as `self`, to which the result is tied. Every
        // bit pattern is a valid u64. Nobody makes a plain reference into it: this process reaches
        // it only here, other processes read the file. The file is allocated in full before it is
        // mapped and no one truncates it, so no access can meet a missing page.
        unsafe { std::slice::from_raw_parts(start, WORDS) }
    }
}

/// What a reader finds in a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) instance: u128,
    pub(super) boot: u128,
    pub(super) traffic: Traffic,
    pub(super) open: Open,
}

impl Reading {
    /// Understands a copy of a page.
    pub(super) fn parse(page: &[u8; SIZE]) -> io::Result<Self> {
        let word = |word: Word| {
            let at = word as usize * size_of::<u64>();
            let mut bytes = [0; size_of::<u64>()];
            bytes.copy_from_slice(&page[at..at + size_of::<u64>()]);
            u64::from_ne_bytes(bytes)
        };
        if word(Word::Magic) != MAGIC {
            return Err(invalid("not a counters file"));
        }
        if word(Word::Version) != VERSION {
            return Err(invalid("a counters file of another version"));
        }
        let wide = |high, low| u128::from(word(high)) << 64 | u128::from(word(low));
        Ok(Self {
            instance: wide(Word::InstanceHigh, Word::InstanceLow),
            boot: wide(Word::BootHigh, Word::BootLow),
            traffic: Traffic {
                up: word(Word::Up),
                down: word(Word::Down),
                cdp_up: word(Word::CdpUp),
                cdp_down: word(Word::CdpDown),
                connections: word(Word::Opened),
            },
            open: Open {
                clients: word(Word::Clients),
                connections: word(Word::Open),
            },
        })
    }
}

pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
