//! Makes the browser a phone and keeps it one: two connections that hold the same overrides.
//!
//! Overrides vanish with the connection that set them, and the requests of a page without them
//! carry a desktop's hints. Hence two: while one is being opened again the other holds, and no
//! request slips through. Only when both are gone the [`Supervisor::gate`] closes, and the egress
//! proxy lets nothing out until one is back.
//!
//! [`link`] is one connection and [`pair`] keeps two of them; [`overrides`] says what they send,
//! [`brands`] what goes into the client hints. Clients hold no overrides of the profile: the gateway
//! keeps them from undoing it, and has all asserted once more when a client has left
//! ([`Supervisor::assert_again`]). Where a client emulates something of its own on a target, the
//! profile keeps off ([`exempt`]) for as long as the client does. One request comes too early for all
//! this, and is put right on its way out ([`first_request`]). No client hears of a page that is not
//! the phone yet ([`covered`]). [`heart`] tells a browser that hangs, [`capabilities`] what a device's browser
//! cannot do.

mod brands;
mod capabilities;
mod covered;
mod exempt;
mod first_request;
mod heart;
mod kit;
mod link;
mod overrides;
mod pair;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

pub use self::exempt::Exemption;
pub(super) use self::{brands::Version, exempt::Exempt};
use self::{
    heart::Heart,
    kit::{Kit, Worn},
    overrides::Kind,
    pair::Pair,
};
use super::{Browser, DevTools, Place};
use crate::{
    cdp::{Command, get_json},
    model::Capabilities,
    profile::Profile,
    runtime::Tasks,
};

/// A page in an endless loop is not waited for.
const SETTLING: Duration = Duration::from_secs(2);
/// How long a client waits for news of a page until the page is the phone.
const COVERING: Duration = Duration::from_secs(1);
/// Between two tries while the browser starts.
const STARTING: Duration = Duration::from_millis(10);

/// Why a browser cannot be made a phone.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// `/json/version` lacks what is needed.
    #[error("the browser's description of itself has no usable `{0}`")]
    Description(&'static str),
    /// Asked to stop meanwhile.
    #[error("stopped before the browser was ready")]
    Stopped,
}

/// A browser under supervision; ends with the tasks that it was started in. Clones share it.
#[derive(Debug, Clone)]
pub struct Supervisor {
    browser: Arc<Browser>,
    /// Of a device: what its browser can do.
    device: Option<Capabilities>,
    kit: Arc<Kit>,
    pair: Arc<Pair>,
}

/// Dials until DevTools answers, opens the pair, and returns once every target carries the
/// overrides on both connections and a page is open; of a device, once it is known what its browser
/// can do. The caller bounds the time. From then on the browser may be silent for `patience`.
///
/// # Errors
/// [`SupervisorError`]; an unreachable browser is none, it is waited for.
pub async fn start(
    devtools: Arc<DevTools>,
    profile: Arc<Profile>,
    patience: watch::Receiver<Duration>,
    tasks: &Tasks,
) -> Result<Supervisor, SupervisorError> {
    let stopping = tasks.stopping();
    let described = tokio::select! {
        described = describe(&devtools) => described,
        () = stopping.cancelled() => return Err(SupervisorError::Stopped),
    };
    let browser = Arc::new(browser(described)?);
    let version = Version::of(&browser.product).ok_or(SupervisorError::Description("Browser"))?;
    let kit = Arc::new(Kit {
        is_device: devtools.is_device(),
        worn: Mutex::new(Worn {
            profile,
            place: Place::default(),
        }),
        version,
        exempt: Arc::default(),
        covered: Arc::default(),
        heart: Heart::new(patience),
    });
    let pair = pair::open(&devtools, &kit, &browser.ws_path, tasks);
    let held = async {
        pair.all_hold().await;
        if kit.is_device {
            Some(capabilities::found(&devtools, &browser.ws_path, tasks).await)
        } else {
            None
        }
    };
    let device = tokio::select! {
        device = held => device,
        () = stopping.cancelled() => return Err(SupervisorError::Stopped),
    };
    Ok(Supervisor {
        browser,
        device,
        kit,
        pair,
    })
}

// === impl Supervisor ===

impl Supervisor {
    /// What the browser said of itself.
    #[must_use]
    pub fn browser(&self) -> &Browser {
        &self.browser
    }

    /// The phone that it makes of the browser.
    #[must_use]
    pub fn profile(&self) -> Arc<Profile> {
        self.kit.profile()
    }

    /// What a page is sent.
    #[must_use]
    pub fn overrides(&self) -> Vec<Command> {
        if self.kit.is_device {
            return Vec::new();
        }
        overrides::overrides(&self.kit.profile(), &self.kit.version, Kind::Page)
    }

    /// What the browser can do where it is a device's own, over which no profile is laid.
    #[must_use]
    pub const fn device(&self) -> Option<Capabilities> {
        self.device
    }

    /// The browser is there from now on: returns once its pages have been told, or have had long enough.
    /// What it says already costs nothing.
    pub async fn settle(&self, place: &Place) {
        if self.kit.settle(place) && timeout(SETTLING, self.pair.assert_now()).await.is_err() {
            warn!("a browser took long to hear where it is");
        }
    }

    /// From now on what `method` sets on `target` is a client's, until the exemption is dropped.
    #[must_use]
    pub fn exempt(&self, target: &str, method: &'static str) -> Exemption {
        Exempt::enter(&self.kit.exempt, target, method)
    }

    /// Returns once a page carries the overrides, or has had long enough to. Cancel-safe.
    pub async fn covers(&self, target: &str) {
        if timeout(COVERING, self.kit.covered.covers(target))
            .await
            .is_err()
        {
            debug!(
                page = target,
                "a page is shown before it is known to be the phone"
            );
        }
    }

    /// True while at least one connection holds: only then may a request leave.
    #[must_use]
    pub fn gate(&self) -> watch::Receiver<bool> {
        self.pair.gate()
    }

    /// Returns once the gate is open. Cancel-safe.
    pub async fn holds(&self) {
        // Its sender is in `self`: waiting ends with what is waited for.
        drop(self.pair.gate().wait_for(|open| *open).await);
    }

    /// How many connections hold.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.pair.holding()
    }

    /// Whether a connection that holds sees a page that lives.
    #[must_use]
    pub fn has_page(&self) -> bool {
        self.pair.has_page()
    }

    /// Returns once the browser has answered nobody for longer than it may: for how long. Cancel-safe.
    pub async fn stopped(&self) -> Duration {
        self.kit.heart.stopped().await
    }

    /// Sends all overrides once more. Wanted whenever a client has gone: with it go the overrides
    /// that it set, and Chrome then falls back to none at all.
    pub fn assert_again(&self) {
        self.pair.assert_again();
    }
}

/// The browser's `/json/version`, as soon as it answers.
///
/// Asked again and again, because nothing tells when a browser begins to listen: with a port that is
/// given Chrome writes no `DevToolsActivePort`, the line that it prints instead could only be read through
/// Docker (one more call for each start, and none that this process may make), and TCP has no event
/// for a listener that comes. A dial that is refused costs a tenth of a millisecond and uses up no
/// socket, so a start of half a second spends one hundredth of a core's time here and loses five
/// milliseconds on the average.
async fn describe(devtools: &DevTools) -> Map<String, Value> {
    loop {
        let answer = async { get_json(devtools.connect().await?, "/json/version").await };
        match answer.await {
            Ok(description) => return description,
            Err(_not_yet) => sleep(STARTING).await,
        }
    }
}

fn browser(version: Map<String, Value>) -> Result<Browser, SupervisorError> {
    let text = |key: &'static str| {
        let value = version.get(key).and_then(Value::as_str);
        value.ok_or(SupervisorError::Description(key))
    };
    let url = text("webSocketDebuggerUrl")?;
    let ws_path = url
        .strip_prefix("ws://")
        .and_then(|rest| rest.find('/').map(|at| rest[at..].to_owned()))
        .ok_or(SupervisorError::Description("webSocketDebuggerUrl"))?;
    Ok(Browser {
        product: text("Browser")?.to_owned(),
        user_agent: text("User-Agent")?.to_owned(),
        ws_path,
        version,
    })
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
pub(super) mod tests;
