//! Where the bytes of a connection are counted, and what limits them.

use std::sync::Arc;

use super::{hosts::Count, ration::Share};
use crate::relay::meter::Meter;

/// On whose account a connection is.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) meter: Arc<Meter>,
    pub(super) share: Option<Share>,
    /// Where its host is counted beside, if hosts are.
    pub(super) host: Option<Arc<Count>>,
}

impl Account {
    /// Bytes were written.
    pub(super) fn add_up(&self, bytes: u64) {
        self.meter.add_up(bytes);
        if let Some(host) = &self.host {
            host.add_up(bytes);
        }
    }

    /// Bytes were read.
    pub(super) fn add_down(&self, bytes: u64) {
        self.meter.add_down(bytes);
        if let Some(host) = &self.host {
            host.add_down(bytes);
        }
    }
}
