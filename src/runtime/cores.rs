//! How much can go on at once.

use std::{num::NonZeroUsize, thread};

/// Cores that this process may use; one where the kernel does not say.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
