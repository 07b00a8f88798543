//! The Android Debug Bridge as a host speaks it: over any byte stream to an adbd, with nothing between.
//!
//! ```text
//!   packet      one packet: header and payload, limits kept     (pure)
//!   mux         streams of one connection, one credit each way  (pure)
//!   greeting    who is there, and the key that some demand
//!   key         an RSA key as `adb` has it                      (pure; feature `adb-auth`)
//!   connection  deadlines, the task that moves packets
//!   stream      a service as AsyncRead + AsyncWrite, and its halves
//!   shell       `shell,v2`: stdout, stderr and exit code apart
//!   sync        `sync:`: a file pushed
//! ```
//!
//! What is asked of a peer is AOSP's `protocol.txt` at version 0x01000001, without `delayed_ack`: a stream
//! has one packet under way in each direction, and the next is sent once it was acknowledged. A packet is
//! acknowledged when its reader begins to read it, so a stream that nobody reads holds one packet here and
//! holds up no other stream. (Where a service has ended, adbd sends what is left of it all at once, as
//! `force_eof` in its sources has it.) Whatever waits has a deadline, and whatever piles up has a limit.
//!
//! Ids of streams are never used again on a connection, so what comes late for one that is closed (adbd
//! does that) is told from everything else and ignored. Nothing here knows what a device is for.

mod connection;
mod error;
mod greeting;
#[cfg(feature = "adb-auth")]
mod key;
#[cfg(not(feature = "adb-auth"))]
#[path = "no_key.rs"]
mod key;
mod mux;
mod packet;
mod shell;
mod stream;
mod sync;

use self::greeting::TOKEN;
pub use connection::Adb;
pub use error::{AdbError, KeyError, Lost, Malformed};
pub use greeting::{Banner, Hello};
pub use key::Key;
pub use shell::{Output, quote};
pub use stream::{AdbStream, ReadHalf, WriteHalf};
