//! What can go wrong between a host and an adbd.

use std::{io, time::Duration};

/// What no adbd would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not a command of the protocol, or its check word is wrong: whoever speaks is no adbd.
    #[error("the header {0:#010x} is no packet of ADB")]
    Header(u32),
    /// More than was agreed on.
    #[error("a packet announces {announced} bytes where {allowed} were agreed on")]
    TooLong {
        /// What its header says.
        announced: u32,
        /// What may be sent.
        allowed: u32,
    },
    /// More data than fits although nothing of it was acknowledged.
    #[error("stream {0} was sent data that nobody had room for")]
    Unasked(u32),
    /// A greeting, or a stream opened from the other side, in the middle of a connection.
    #[error("a packet came that has no meaning here")]
    Misplaced,
}

/// Why a connection carries nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The other side hung up: adbd restarts, or the device is gone.
    #[error("adbd closed the connection")]
    HungUp,
    /// The socket.
    #[error("the connection to adbd broke: {0}")]
    Broken(io::ErrorKind),
    /// It cannot be read any further.
    #[error("adbd cannot be understood: {0}")]
    Malformed(#[from] Malformed),
    /// A packet was begun and not finished, or is not taken.
    #[error("adbd stopped in the middle of a packet for {0:?}")]
    Stalled(Duration),
    /// This side.
    #[error("the connection to adbd is closed")]
    Closed,
}

/// A key that is none. No message has anything of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Something else.
    #[error("it is no RSA key in PEM (PKCS#8, as `adb keygen` writes it)")]
    Unreadable,
    /// Android knows one size.
    #[error("it has {0} bits, and Android takes 2048")]
    Size(usize),
    /// No randomness.
    #[error("RSA failed with it")]
    Unusable,
    /// Without the feature.
    #[error("this program was built without `adb-auth`, so it can show a device no key")]
    NotBuilt,
}

/// A connection or an order that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdbError {
    /// The greeting was not answered: a forwarder listens and adbd does not yet, or everything is frozen.
    #[error("adbd did not answer the greeting within {0:?}")]
    NoGreeting(Duration),
    /// It demands a key, and there is none to show.
    #[error("adbd demands a key that was accepted on the device, and this host has none")]
    WantsKey,
    /// It demands a key, does not know this one, and nobody accepted it in time.
    #[error("adbd demands a key and does not accept this host's (SHA-256 {fingerprint})")]
    KeyRefused {
        /// Of the public key.
        fingerprint: String,
    },
    /// The key to show.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A port for wireless debugging.
    #[error("adbd demands TLS on this port; the plain port is 5555")]
    WantsTls,
    /// Older than Android 9.
    #[error("adbd speaks protocol {0:#010x}, which is older than Android 9")]
    TooOld(u32),
    /// The connection.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// There is no such service now.
    #[error("the device refuses `{0}`")]
    Refused(String),
    /// No answer in time.
    #[error("`{what}` was not answered within {limit:?}")]
    Silent {
        /// What was asked.
        what: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A name that the protocol cannot carry.
    #[error("`{0}` cannot be sent: it is empty, too long, or has a zero byte")]
    BadName(String),
    /// Too many streams at once.
    #[error("{0} streams are open on one connection")]
    TooMany(usize),
    /// A command whose output is no output of a command.
    #[error("`{0}` wrote more than is read of a command")]
    TooMuch(String),
    /// A command that did not end with an exit code.
    #[error("`{0}` ended without an exit code")]
    NoExit(String),
    /// The device could not write a file.
    #[error("`{path}` was not written: {why}")]
    NotWritten {
        /// Where on the device.
        path: String,
        /// The device's words.
        why: String,
    },
}
