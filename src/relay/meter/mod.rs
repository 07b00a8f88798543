//! Byte counts of one instance, in one page of shared memory.

use crate::model::Traffic;

/// The counters of one instance; the relay is the one writer.
#[derive(Debug, Default)]
pub struct Meter {}

impl Meter {
    /// A CDP client came.
    pub fn client_opened(&self) {}
    /// A CDP client left.
    pub fn client_closed(&self) {}
    /// Bytes received from a CDP client.
    pub fn add_cdp_up(&self, _bytes: u64) {}
    /// Bytes sent to a CDP client.
    pub fn add_cdp_down(&self, _bytes: u64) {}
    /// The counts now.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}
