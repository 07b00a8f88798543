//! The self-check: one session, end to end, the way a client has it.
//!
//! `POST` → poll until ready → CDP through the gateway: a page, a screenshot → bytes → `DELETE`.
//! The page comes from this process ([`Origin`]), through the session's proxy: so the check needs no
//! network and tells nobody of itself, and the meter must say exactly what the page's side counted.

mod api;
mod origin;

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::Method;
use serde_json::json;
use tokio::{net::TcpStream, time::Instant};

use self::{api::Api, origin::Origin};
use super::node::NodeRole;
use crate::{
    cdp::{CdpError, Connection},
    control::ApiKey,
    relay::client::RelayError,
    runtime::Tasks,
    tls::{self, Identity, TlsError},
};

/// How long the page may take to load.
const LOAD_LIMIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
/// How long the meter may take to say what has already moved.
const METER_LIMIT: Duration = Duration::from_secs(5);
/// It brings its own icon, so that the browser asks for nothing else.
const PAGE: &str =
    "<!doctype html><title>chaser</title><link rel=icon href=data:,><h1>It works</h1>";
const PNG: &[u8] = b"\x89PNG";

/// Where to check and as whom.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) api: SocketAddr,
    pub(super) cdp: SocketAddr,
    pub(super) key: &'a ApiKey,
    /// What API and gateway show; `None`: they speak plaintext.
    pub(super) identity: Option<Identity>,
    pub(super) node: &'a NodeRole,
}

/// What was found, with the times.
#[derive(Debug, Default)]
pub(super) struct Report {
    steps: Vec<(&'static str, Duration, String)>,
}

/// What did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckFailed {
    /// The API does not answer.
    #[error("self-check: the session API does not answer")]
    Api(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API refuses.
    #[error("self-check: the session API answered {status} to {what}: {message}")]
    Refused {
        /// The call.
        what: String,
        /// The status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The session failed.
    #[error("self-check: the session ended as `{status}`: {message}")]
    NotReady {
        /// What became of it.
        status: String,
        /// Why.
        message: String,
    },
    /// The session takes too long.
    #[error("self-check: the session was not ready within {} s", .0.as_secs())]
    Slow(Duration),
    /// The gateway.
    #[error("self-check: cannot connect to the CDP gateway")]
    Connect(#[from] std::io::Error),
    /// TLS.
    #[error("self-check: its own certificate cannot be used")]
    Tls(#[from] TlsError),
    /// CDP.
    #[error("self-check: the browser does not do as it is told")]
    Cdp(#[from] CdpError),
    /// The check's own page.
    #[error("self-check: its page cannot be served")]
    Origin(#[source] std::io::Error),
    /// The relay.
    #[error("self-check: the relay does not open the way to its page")]
    Relay(#[from] RelayError),
    /// The meter.
    #[error(
        "self-check: the meter says {metered:?} bytes up and down, its page counted {counted:?}"
    )]
    Meter {
        /// What the session says.
        metered: (u64, u64),
        /// What moved.
        counted: (u64, u64),
    },
    /// What came makes no sense.
    #[error("self-check: {0}")]
    Nonsense(&'static str),
}

impl Report {
    fn step(&mut self, what: &'static str, since: Instant, note: impl Into<String>) {
        self.steps.push((what, since.elapsed(), note.into()));
    }

    /// A few lines for people.
    pub(super) fn lines(&self) -> String {
        let total: Duration = self.steps.iter().map(|(_, took, _)| *took).sum();
        let mut text = format!("self-check passed in {:.2} s\n", total.as_secs_f64());
        for (what, took, note) in &self.steps {
            let line = format!("  {what:<14}{:>7.2} s   {note}", took.as_secs_f64());
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Checks.
///
/// # Errors
/// [`CheckFailed`] names the first thing that does not work; the session is deleted in any case.
pub(super) async fn run(subject: &Subject<'_>, tasks: &Tasks) -> Result<Report, CheckFailed> {
    let api = Api::new(subject)?;
    let mut report = Report::default();
    let since = Instant::now();
    let made = api.call(Method::POST, "/v1/sessions").await?;
    let id = made["id"]
        .as_str()
        .ok_or(CheckFailed::Nonsense("no id came"))?;
    let path = format!("/v1/sessions/{id}");
    let used = use_it(&api, id, since, &mut report, tasks).await;
    let since = Instant::now();
    let deleted = api.call(Method::DELETE, &path).await;
    used?;
    deleted?;
    report.step("deleted", since, "");
    Ok(report)
}

async fn use_it(
    api: &Api<'_>,
    id: &str,
    since: Instant,
    report: &mut Report,
    tasks: &Tasks,
) -> Result<(), CheckFailed> {
    let path = format!("/v1/sessions/{id}");
    let session = api.ready(&path).await?;
    report.step(
        "ready",
        since,
        session["device"].as_str().unwrap_or_default(),
    );

    // As a client would enter: the token is in it, where sessions have one.
    let url = session["cdp_url"].as_str().unwrap_or_default();
    let entry = url.find("/sessions/").map(|at| url[at..].to_owned());
    let entry = entry.ok_or(CheckFailed::Nonsense("no cdp_url came"))?;
    let source = session["proxy_ip"].as_str().and_then(|ip| ip.parse().ok());
    let origin = Origin::start(source, PAGE, tasks).await;
    let origin = origin.map_err(CheckFailed::Origin)?;
    let node = api.subject.node;
    let visited = async {
        node.let_pages_reach(vec![origin.address]).await?;
        visit(api, (id, &entry), &origin, report, tasks).await
    }
    .await;
    origin.stop().await;
    // Whoever gets its port next must not be reachable.
    let closed = node.let_pages_reach(Vec::new()).await;
    visited?;
    Ok(closed?)
}

async fn visit(
    api: &Api<'_>,
    (id, entry): (&str, &str),
    origin: &Origin,
    report: &mut Report,
    tasks: &Tasks,
) -> Result<(), CheckFailed> {
    let since = Instant::now();
    let Subject { cdp, identity, .. } = api.subject;
    let (browser, _events) = match identity {
        Some(identity) => {
            let stream = tls::connect(*cdp, tls::pinned(identity)?).await?;
            Connection::open(stream, entry, tasks).await?
        }
        None => Connection::open(TcpStream::connect(cdp).await?, entry, tasks).await?,
    };
    let url = format!("http://{}/", origin.address);
    let page = open_page(&browser, &url).await?;
    report.step("page opened", since, "");

    let since = Instant::now();
    let size = screenshot(&browser, &page).await?;
    report.step("screenshot", since, format!("{size} bytes of PNG"));

    let since = Instant::now();
    let (up, down) = metered(api, &format!("/v1/sessions/{id}"), origin).await?;
    report.step("metered", since, format!("{up} bytes up, {down} down"));
    Ok(())
}

/// Waits until the session's bytes are those that its page's side counted.
async fn metered(api: &Api<'_>, path: &str, origin: &Origin) -> Result<(u64, u64), CheckFailed> {
    let until = Instant::now() + METER_LIMIT;
    loop {
        let session = api.call(Method::GET, path).await?;
        let count = |field: &str| session[field].as_u64().unwrap_or_default();
        let (metered, counted) = ((count("bytes_up"), count("bytes_down")), origin.seen());
        if metered == counted && counted.0 > 0 {
            return Ok(metered);
        }
        if Instant::now() >= until {
            return Err(CheckFailed::Meter { metered, counted });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Navigates the session's first page and waits until it has loaded; its CDP session.
async fn open_page(browser: &Connection, url: &str) -> Result<String, CheckFailed> {
    let targets = browser.call(None, "Target.getTargets", json!({})).await?;
    let infos = targets["targetInfos"].as_array();
    let page = infos
        .and_then(|infos| infos.iter().find(|info| info["type"] == "page"))
        .ok_or(CheckFailed::Nonsense("the browser has no page open"))?;
    let attach = json!({ "targetId": page["targetId"], "flatten": true });
    let attached = browser.call(None, "Target.attachToTarget", attach).await?;
    let session = attached["sessionId"]
        .as_str()
        .ok_or(CheckFailed::Nonsense("the page cannot be attached"))?;
    let navigate = json!({ "url": url });
    browser
        .call(Some(session), "Page.navigate", navigate)
        .await?;
    let until = Instant::now() + LOAD_LIMIT;
    let title = json!({ "expression": "document.title" });
    while Instant::now() < until {
        let answer = browser.call(Some(session), "Runtime.evaluate", title.clone());
        // While the page changes there may be no context to ask.
        if let Ok(answer) = answer.await
            && answer["result"]["value"] == "chaser"
        {
            return Ok(session.to_owned());
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(CheckFailed::Nonsense("the page does not load"))
}

async fn screenshot(browser: &Connection, page: &str) -> Result<usize, CheckFailed> {
    let format = json!({ "format": "png" });
    let shot = browser.call(Some(page), "Page.captureScreenshot", format);
    let shot = shot.await?;
    let image = STANDARD
        .decode(shot["data"].as_str().unwrap_or_default())
        .map_err(|_not_base64| CheckFailed::Nonsense("the screenshot is not base64"))?;
    if !image.starts_with(PNG) {
        return Err(CheckFailed::Nonsense("the screenshot is no PNG"));
    }
    Ok(image.len())
}
