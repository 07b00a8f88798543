//! Where the browser of a device is.

use serde::{Deserialize, Serialize};

/// Behind which adbd, and which socket of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDevice {
    /// Where adbd listens, on 127.0.0.1 of the container's namespace.
    pub adb_port: u16,
    /// Name of the abstract DevTools socket behind it.
    pub socket: String,
}
