//! One supervising connection: attached to every target before its first line of script runs.
//!
//! ```text
//!   browser: setAutoAttach ──▶ attachedToTarget (paused) ──▶ setAutoAttach · overrides · resume
//!                                      ▲                              │
//!                                      └──── its frames and workers ──┘
//! ```
//!
//! The commands to one target go out in one breath: DevTools performs them in order, so the target
//! runs on only once it is the phone, and no round trip is spent on it. Answers are read for one
//! purpose: to know when all targets that were there already have been covered.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::debug;

use super::{
    covered::{Cover, Covered},
    first_request,
    kit::Kit,
    overrides::Kind,
};
use crate::cdp::{CdpError, Command, Connection, Event, Events, Reply};

/// A target that does not answer for so long (a page in an endless loop) counts as covered: the
/// part of its overrides that the browser process holds is in force.
const SETTLE: Duration = Duration::from_secs(5);
/// However late it comes, an answer is one.
const EVER: Duration = Duration::from_secs(24 * 3600);
/// How long a starting browser may take to open its first page before one is opened for it.
const FIRST_PAGE: Duration = Duration::from_millis(500);
/// "Session with given id not found": the target went away meanwhile.
const SESSION_GONE: i64 = -32001;

/// An attached target.
#[derive(Debug)]
struct Target {
    id: String,
    kind: Kind,
    crashed: bool,
    /// From the last answer of its overrides on.
    cover: Option<Cover>,
}

/// What one connection amounts to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Every target carries the overrides, those still to come included.
    pub(super) holds: bool,
    /// Pages that are open and have not crashed.
    pub(super) pages: usize,
    /// The last order to assert everything that was carried out.
    pub(super) asserted: u64,
}

/// A connection at work.
#[derive(Debug)]
pub(super) struct Link {
    connection: Connection,
    kit: Arc<Kit>,
    /// Attached targets by their session.
    targets: HashMap<String, Target>,
    /// Answers to come, each with the session that they cover, where it is one's.
    pending: FuturesUnordered<BoxFuture<'static, Option<String>>>,
    /// The answer to whether the browser is there; one question at a time.
    asked: FuturesUnordered<BoxFuture<'static, bool>>,
    holds: bool,
    /// The last order to assert everything, and the last that was carried out.
    asserting: u64,
    asserted: u64,
    /// When to open a page, if none has come by then.
    first_page: Option<Instant>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attached {
    session_id: String,
    target_info: TargetInfo,
    waiting_for_debugger: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetInfo {
    target_id: String,
    pub(super) r#type: String,
    pub(super) url: String,
    pub(super) can_access_opener: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detached {
    session_id: String,
}

impl Link {
    /// For an open connection; with `opens_page` it sees to it that the browser has a page.
    pub(super) fn new(connection: Connection, kit: Arc<Kit>, opens_page: bool) -> Self {
        Self {
            connection,
            kit,
            targets: HashMap::new(),
            pending: FuturesUnordered::new(),
            asked: FuturesUnordered::new(),
            holds: false,
            asserting: 0,
            asserted: 0,
            first_page: opens_page.then(|| Instant::now() + FIRST_PAGE),
        }
    }

    /// Works until the connection is lost; `report` hears of every change. Whenever `again` changes,
    /// all targets are given their overrides once more.
    ///
    /// # Errors
    /// How it was lost.
    pub(super) async fn run(
        mut self,
        mut events: Events,
        mut again: watch::Receiver<u64>,
        report: impl Fn(Standing),
    ) -> Result<(), CdpError> {
        let root = self.connection.post(None, &auto_attach()).await?;
        self.await_answers("browser", None, vec![root]);
        let kit = Arc::clone(&self.kit);
        loop {
            let page_due = self.first_page.filter(|_due| self.holds);
            // Events first: those that came before an answer are in the queue when it arrives.
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(event) => {
                        kit.heart.beat();
                        self.on(*event).await?;
                    }
                    None => return Err(CdpError::Closed),
                },
                Ok(()) = again.changed() => {
                    self.asserting = *again.borrow_and_update();
                    self.assert_again().await?;
                }
                Some(whose) = self.pending.next() => self.covered(whose.as_deref()),
                Some(answered) = self.asked.next() => if answered { kit.heart.beat() },
                () = sleep(kit.heart.interval()), if self.asked.is_empty() => self.ask().await?,
                () = sleep_until(page_due.unwrap_or_else(Instant::now)), if page_due.is_some() => {
                    self.open_page().await?;
                }
            }
            if self.pending.is_empty() {
                self.holds |= events.is_empty();
                self.asserted = self.asserting;
            }
            let pages = self.pages();
            if pages > 0 {
                self.first_page = None;
            }
            report(Standing {
                holds: self.holds,
                pages,
                asserted: self.asserted,
            });
        }
    }

    fn pages(&self) -> usize {
        self.targets
            .values()
            .filter(|target| target.kind == Kind::Page && !target.crashed)
            .count()
    }

    async fn on(&mut self, event: Event) -> Result<(), CdpError> {
        match event.method.as_str() {
            "Target.attachedToTarget" => {
                let attached: Attached = serde_json::from_value(event.params)?;
                self.cover(attached).await
            }
            "Target.detachedFromTarget" => {
                let Detached { session_id } = serde_json::from_value(event.params)?;
                self.targets.remove(&session_id);
                Ok(())
            }
            method @ ("Inspector.targetCrashed" | "Inspector.targetReloadedAfterCrash") => {
                let whose = event.session.as_ref();
                if let Some(target) = whose.and_then(|session| self.targets.get_mut(session)) {
                    target.crashed = method == "Inspector.targetCrashed";
                }
                Ok(())
            }
            "Fetch.requestPaused" => {
                let session = event.session.unwrap_or_default();
                let commands =
                    first_request::release(&event.params, &self.kit.profile(), &self.kit.version);
                drop(post_all(&self.connection, &session, &commands).await?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn cover(&mut self, attached: Attached) -> Result<(), CdpError> {
        let kind = Kind::of(&attached.target_info.r#type);
        let is_written = !self.kit.is_device
            && first_request::is_written(&attached.target_info, attached.waiting_for_debugger);
        let id = attached.target_info.target_id;
        let target = Target {
            id,
            kind,
            crashed: false,
            cover: None,
        };
        let mut commands = self.kit.overrides(&target.id, target.kind);
        if kind != Kind::Other {
            commands.insert(0, auto_attach());
        }
        if is_written {
            commands.push(first_request::hold());
        }
        commands.push(Command {
            method: "Runtime.runIfWaitingForDebugger",
            params: json!({}),
        });
        let replies = post_all(&self.connection, &attached.session_id, &commands).await?;
        let session = attached.session_id;
        self.await_answers(kind_name(kind), Some(session.clone()), replies);
        self.targets.insert(session, target);
        Ok(())
    }

    /// All that was sent to the target of this session has been answered.
    fn covered(&mut self, session: Option<&str>) {
        if let Some(target) = session.and_then(|session| self.targets.get_mut(session)) {
            target.cover = Some(Covered::enter(&self.kit.covered, &target.id));
        }
    }

    async fn assert_again(&mut self) -> Result<(), CdpError> {
        for (session, target) in &self.targets {
            let commands = self.kit.overrides(&target.id, target.kind);
            let replies = post_all(&self.connection, session, &commands).await?;
            self.await_answers(kind_name(target.kind), None, replies);
        }
        Ok(())
    }

    /// Asks the browser itself, which answers whatever its pages do.
    async fn ask(&mut self) -> Result<(), CdpError> {
        let version = Command {
            method: "Browser.getVersion",
            params: json!({}),
        };
        let reply = self.connection.post(None, &version).await?;
        self.asked
            .push(Box::pin(async { reply.result(EVER).await.is_ok() }));
        Ok(())
    }

    async fn open_page(&mut self) -> Result<(), CdpError> {
        self.first_page = None;
        let create = Command {
            method: "Target.createTarget",
            params: json!({ "url": "about:blank" }),
        };
        let reply = self.connection.post(None, &create).await?;
        self.await_answers("browser", None, vec![reply]);
        Ok(())
    }

    fn await_answers(&self, kind: &'static str, whose: Option<String>, replies: Vec<Reply>) {
        self.pending.push(Box::pin(async move {
            let all = async {
                for reply in replies {
                    match reply.result(SETTLE).await {
                        Ok(_result) => {}
                        Err(CdpError::Refused {
                            code: SESSION_GONE, ..
                        }) => {}
                        Err(error) => debug!(kind, %error, "override not taken"),
                    }
                }
            };
            if timeout(SETTLE, all).await.is_err() {
                debug!(kind, "target does not answer");
            }
            whose
        }));
    }
}

async fn post_all(
    connection: &Connection,
    session: &str,
    commands: &[Command],
) -> Result<Vec<Reply>, CdpError> {
    let mut replies = Vec::with_capacity(commands.len());
    for command in commands {
        replies.push(connection.post(Some(session), command).await?);
    }
    Ok(replies)
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Page => "page",
        Kind::Frame => "frame",
        Kind::Worker => "worker",
        Kind::Other => "other",
    }
}

/// Attach to whatever appears, before it runs; tabs and the browser's own pages are no targets of
/// script.
fn auto_attach() -> Command {
    let skip = |kind: &str| json!({ "type": kind, "exclude": true });
    Command {
        method: "Target.setAutoAttach",
        params: json!({
            "autoAttach": true,
            "waitForDebuggerOnStart": true,
            "flatten": true,
            "filter": [skip("browser"), skip("tab"), skip("browser_ui"), {}],
        }),
    }
}
