//! Makes the browser a phone and keeps it one: two connections that hold the same overrides.
//!
//! Overrides vanish with the connection that set them, and the requests of a page without them
//! carry a desktop's hints. Hence two: while one is being opened again the other holds, and no
//! request slips through. Only when both are gone the [`Supervisor::gate`] closes, and the egress
//! proxy lets nothing out until one is back.
//!
//! [`link`] is one connection, [`overrides`] says what it sends, [`brands`] what goes into the client
//! hints. Clients hold no overrides of the profile: the gateway keeps them from undoing it, and
//! after each client has left all is asserted once more ([`Supervisor::follow`]).

mod brands;
mod link;
mod overrides;

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::{
    brands::Version,
    link::{Kit, Link, Standing},
};
use super::{Browser, Clients, Dialer};
use crate::{
    cdp::{CdpError, Connection, get_json},
    profile::Profile,
    runtime::Tasks,
};

/// Connections that hold the same overrides.
const PAIR: usize = 2;
/// Between two tries while the browser starts …
const STARTING: Duration = Duration::from_millis(10);
/// … and while a lost connection is opened again: the first pause, doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(1);

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

/// A browser under supervision; ends with the tasks that it was started in.
#[derive(Debug)]
pub struct Supervisor {
    browser: Browser,
    profile: Arc<Profile>,
    pair: Arc<Pair>,
    tasks: Tasks,
}

/// What both connections amount to.
#[derive(Debug)]
struct Pair {
    standing: watch::Sender<[Standing; PAIR]>,
    gate: watch::Sender<bool>,
    /// Counts the orders to assert everything once more.
    again: watch::Sender<u64>,
}

/// Dials until DevTools answers, opens the pair, and returns once every target carries the
/// overrides on both connections and a page is open. The caller bounds the time.
///
/// # Errors
/// [`SupervisorError`]; an unreachable browser is none, it is waited for.
pub async fn start(
    dialer: Arc<Dialer>,
    profile: Arc<Profile>,
    tasks: &Tasks,
) -> Result<Supervisor, SupervisorError> {
    let stopping = tasks.stopping();
    let described = tokio::select! {
        described = describe(&dialer) => described,
        () = stopping.cancelled() => return Err(SupervisorError::Stopped),
    };
    let browser = browser(described)?;
    let version = Version::of(&browser.product).ok_or(SupervisorError::Description("Browser"))?;
    let kit = Arc::new(Kit {
        profile: Arc::clone(&profile),
        version,
    });
    let pair = Arc::new(Pair {
        standing: watch::Sender::new([Standing::default(); PAIR]),
        gate: watch::Sender::new(false),
        again: watch::Sender::new(0),
    });
    for at in 0..PAIR {
        let post = Post {
            at,
            pair: Arc::clone(&pair),
            dialer: Arc::clone(&dialer),
            kit: Arc::clone(&kit),
            path: browser.ws_path.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn("supervisor", |stop| post.hold(stop));
    }
    let mut standing = pair.standing.subscribe();
    let all_hold = |all: &[Standing; PAIR]| all.iter().all(|one| one.holds && one.pages > 0);
    tokio::select! {
        // The sender lives in `pair`, so waiting cannot fail.
        _held = standing.wait_for(all_hold) => {}
        () = stopping.cancelled() => return Err(SupervisorError::Stopped),
    }
    Ok(Supervisor {
        browser,
        profile,
        pair,
        tasks: tasks.clone(),
    })
}

// === impl Supervisor ===

impl Supervisor {
    /// What the browser said of itself.
    #[must_use]
    pub const fn browser(&self) -> &Browser {
        &self.browser
    }

    /// The phone that it makes of the browser.
    #[must_use]
    pub fn profile(&self) -> Arc<Profile> {
        Arc::clone(&self.profile)
    }

    /// True while at least one connection holds: only then may a request leave.
    #[must_use]
    pub fn gate(&self) -> watch::Receiver<bool> {
        self.pair.gate.subscribe()
    }

    /// How many connections hold.
    #[must_use]
    pub fn connections(&self) -> u32 {
        let standing = self.pair.standing.borrow();
        standing.iter().map(|one| u32::from(one.holds)).sum()
    }

    /// From now on everything is asserted once more whenever one of `clients` has left: with a
    /// client go the overrides that it set, and Chrome then falls back to none at all.
    pub fn follow(&self, clients: &Clients) {
        let (clients, pair) = (clients.clone(), Arc::clone(&self.pair));
        self.tasks
            .spawn("supervisor follows clients", |stop| async move {
                let mut open = clients.watch();
                let mut last_left = clients.idle_since_micros();
                loop {
                    tokio::select! {
                        changed = open.changed() => if changed.is_err() { return },
                        () = stop.cancelled() => return,
                    }
                    let left = clients.idle_since_micros();
                    if left != last_left {
                        last_left = left;
                        pair.again.send_modify(|count| *count += 1);
                    }
                }
            });
    }
}

// === impl Pair ===

impl Pair {
    fn report(&self, at: usize, new: Standing) {
        self.standing.send_if_modified(|all| {
            let changed = all[at] != new;
            all[at] = new;
            // Under the same lock, or two reports at once could leave the gate with the older truth.
            let held = all.iter().any(|one| one.holds);
            self.gate
                .send_if_modified(|gate| std::mem::replace(gate, held) != held);
            changed
        });
    }
}

/// One place in the pair: whoever stands there is replaced when lost.
#[derive(Debug)]
struct Post {
    at: usize,
    pair: Arc<Pair>,
    dialer: Arc<Dialer>,
    kit: Arc<Kit>,
    path: String,
    tasks: Tasks,
}

impl Post {
    async fn hold(self, stop: CancellationToken) {
        // The first of the pair opens the browser's first page, once.
        let mut opens_page = self.at == 0;
        let mut pause = FIRST_PAUSE;
        loop {
            let opened = Instant::now();
            let ended = tokio::select! {
                ended = self.stand(opens_page) => ended,
                () = stop.cancelled() => Ok(()),
            };
            let held = self.pair.standing.borrow()[self.at].holds;
            self.pair.report(self.at, Standing::default());
            match ended {
                Ok(()) => return,
                Err(error) if held => warn!(post = self.at, %error, "supervisor connection lost"),
                Err(error) => debug!(post = self.at, %error, "supervisor connection not opened"),
            }
            opens_page &= !held;
            if held && opened.elapsed() > LAST_PAUSE {
                pause = FIRST_PAUSE;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn stand(&self, opens_page: bool) -> Result<(), CdpError> {
        let stream = self.dialer.connect().await?;
        let (connection, events) = Connection::open(stream, &self.path, &self.tasks).await?;
        let link = Link::new(connection, Arc::clone(&self.kit), opens_page);
        let report = |standing| self.pair.report(self.at, standing);
        link.run(events, self.pair.again.subscribe(), report).await
    }
}

/// The browser's `/json/version`, as soon as it answers.
async fn describe(dialer: &Dialer) -> Map<String, Value> {
    loop {
        let answer = async { get_json(dialer.connect().await?, "/json/version").await };
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
