//! What the gateway itself asks of the browser in a client's sessions.
//!
//! Its commands have ids below zero, which no client may use, so their answers can be told apart by
//! their first bytes and never reach the client. Two things are asked: whether a page is in the
//! background before a screenshot is taken of it (a screenshot of a background page may never be
//! finished, see [`Own::in_background`]), and on which target a client has begun to emulate.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::timeout};

use super::methods::Emulated;
use crate::relay::supervisor::{Exemption, Supervisor};

/// How the browser's answers to our own commands begin …
const ANSWER: &[u8] = br#"{"id":-"#;
/// … and how it tells of the end of a session.
const DETACHED: &[u8] = br#"{"method":"Target.detachedFromTarget""#;
/// … and of its beginning.
const ATTACHED: &[u8] = br#"{"method":"Target.attachedToTarget""#;
/// Bytes of a message that show what it is.
pub(super) const PEEK: usize = DETACHED.len();
/// How long a page may take to say whether it is in the background: one in an endless loop never
/// does, nor would it be drawn.
const SAY: Duration = Duration::from_millis(500);

/// What a message of the browser is to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peeked {
    /// The client's.
    Theirs,
    /// The answer to a command of ours.
    Ours,
    /// The client's, and it tells that a session is over.
    Detached,
    /// The client's, and it tells that one has begun.
    Attached,
}

/// What a message is that begins so.
pub(super) fn peek(first: &[u8]) -> Peeked {
    if first.starts_with(ANSWER) {
        Peeked::Ours
    } else if first.starts_with(DETACHED) {
        Peeked::Detached
    } else if first.starts_with(ATTACHED) {
        Peeked::Attached
    } else {
        Peeked::Theirs
    }
}

/// Why something was asked.
#[derive(Debug)]
enum Asked {
    Background(oneshot::Sender<bool>),
    Target {
        session: String,
        method: &'static str,
    },
}

/// The commands of the gateway on one client's connection, and what it has learnt by them.
#[derive(Debug)]
pub(super) struct Own<'a> {
    supervisor: &'a Supervisor,
    last_id: AtomicI64,
    asked: Mutex<HashMap<i64, Asked>>,
    /// By session and method.
    exemptions: Mutex<HashMap<(String, &'static str), Exemption>>,
    pub(super) emulated: Mutex<Emulated>,
}

#[derive(Deserialize)]
struct Answer {
    id: i64,
    #[serde(default)]
    result: Value,
}

#[derive(Deserialize)]
struct Detached {
    params: DetachedParams,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DetachedParams {
    session_id: String,
}

#[derive(Deserialize)]
struct Attached {
    params: AttachedParams,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachedParams {
    target_info: TargetInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetInfo {
    target_id: String,
    r#type: String,
}

/// Of news that a session has begun: its page. Frames and workers may take a while until they answer anybody;
/// the supervisor is at them before their first line of script, and other news need not wait behind theirs.
pub(super) fn page_of(message: &[u8]) -> Option<String> {
    let Attached { params } = serde_json::from_slice(message).ok()?;
    let TargetInfo { target_id, r#type } = params.target_info;
    (r#type == "page").then_some(target_id)
}

impl<'a> Own<'a> {
    pub(super) fn new(supervisor: &'a Supervisor) -> Self {
        Self {
            supervisor,
            last_id: AtomicI64::new(0),
            asked: Mutex::default(),
            exemptions: Mutex::default(),
            emulated: Mutex::default(),
        }
    }

    /// A command whose answer nobody waits for.
    pub(super) fn command(&self, session: Option<&str>, method: &str, params: &Value) -> String {
        self.numbered(self.id(), session, method, params)
    }

    /// The question whether the page of `session` is in the background, and its answer to come.
    ///
    /// Chrome makes no frames for a page in the background, so its screenshot waits for one that may
    /// not come. Asked without side effects: a page that has put its own code in this place makes
    /// the question fail before any of it is of consequence, and counts as in the background.
    pub(super) fn in_background(&self, session: Option<&str>) -> (String, InBackground) {
        let (tell, told) = oneshot::channel();
        let id = self.id();
        self.asked.lock().insert(id, Asked::Background(tell));
        let params = json!({
            "expression": "document.visibilityState",
            "throwOnSideEffect": true,
            "returnByValue": true,
        });
        let question = self.numbered(id, session, "Runtime.evaluate", &params);
        (question, InBackground(told))
    }

    /// The question of which target `session` is, where the client now emulates by `method`.
    pub(super) fn emulates(&self, session: Option<&str>, method: &'static str) -> String {
        let id = self.id();
        let asked = Asked::Target {
            session: session.unwrap_or_default().to_owned(),
            method,
        };
        self.asked.lock().insert(id, asked);
        self.numbered(id, session, "Target.getTargetInfo", &json!({}))
    }

    /// The client no longer emulates by `method` in `session`.
    pub(super) fn gave_up(&self, session: Option<&str>, method: &'static str) {
        let what = (session.unwrap_or_default().to_owned(), method);
        // An answer that is still to come would take it up again.
        self.asked.lock().retain(|_id, asked| match asked {
            Asked::Target { session, method } => (&*session, *method) != (&what.0, what.1),
            Asked::Background(_) => true,
        });
        self.exemptions.lock().remove(&what);
    }

    /// Takes the answer to a command of ours.
    pub(super) fn answered(&self, message: &[u8]) {
        let Ok(answer) = serde_json::from_slice::<Answer>(message) else {
            return tracing::debug!("an answer to the gateway cannot be read");
        };
        match self.asked.lock().remove(&answer.id) {
            Some(Asked::Background(tell)) => {
                let hidden = answer.result["result"]["value"] != "visible";
                let told = tell.send(hidden && !answer.result.is_null());
                if told.is_err() {
                    tracing::debug!("a page was too late to say whether it is in the background");
                }
            }
            Some(Asked::Target { session, method }) => {
                if let Some(target) = answer.result["targetInfo"]["targetId"].as_str() {
                    let mut exemptions = self.exemptions.lock();
                    let what = (session, method);
                    // The old one first: an exemption ends with whichever is dropped.
                    exemptions.remove(&what);
                    exemptions.insert(what, self.supervisor.exempt(target, method));
                }
            }
            None => {}
        }
    }

    /// Takes note of the end of a session: what it held is gone, and the phone must be put back.
    pub(super) fn detached(&self, message: &[u8]) {
        let Ok(Detached { params }) = serde_json::from_slice(message) else {
            return;
        };
        let session = params.session_id;
        self.emulated.lock().forget(&session);
        let mut exemptions = self.exemptions.lock();
        let before = exemptions.len();
        exemptions.retain(|(of, _method), _exemption| *of != session);
        if exemptions.len() < before {
            self.supervisor.assert_again();
        }
    }

    /// Returns once a page is the phone, or has had long enough to become it. Cancel-safe.
    pub(super) async fn covers(&self, page: &str) {
        self.supervisor.covers(page).await;
    }

    fn id(&self) -> i64 {
        // A client would have to be at it for weeks before the browser's 31 bits are through.
        self.last_id.fetch_sub(1, Ordering::Relaxed) - 1
    }

    fn numbered(&self, id: i64, session: Option<&str>, method: &str, params: &Value) -> String {
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        command.to_string()
    }
}

/// An answer that is on its way.
#[derive(Debug)]
pub(super) struct InBackground(oneshot::Receiver<bool>);

impl InBackground {
    /// Whether the page is in the background, as far as can be told.
    pub(super) async fn known(self) -> bool {
        matches!(timeout(SAY, self.0).await, Ok(Ok(true)))
    }
}
