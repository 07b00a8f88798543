//! What a browser can do that not every Chrome on Android can.

use serde::{Deserialize, Serialize};

/// Found out by asking for it: an Android's version says little about its Chrome's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// It makes browser contexts beside its own (`Target.createBrowserContext`).
    pub browser_contexts: bool,
    /// It can be told about downloads (`Browser.setDownloadBehavior`).
    pub downloads: bool,
}
