//! A CDP client that does what Playwright's `connectOverCDP` and `page.goto` cannot do without, and
//! nothing else; the same steps whoever is measured.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    cdp::{Connection, Events},
    runtime::Tasks,
};

const GOTO: Duration = Duration::from_secs(60);

/// A page that is attached to.
#[derive(Debug)]
pub(super) struct Page {
    browser: Connection,
    events: Events,
    session: String,
}

impl Page {
    /// Opens the WebSocket, finds the open page, attaches to it.
    ///
    /// # Errors
    /// Whatever the browser, or who stands before it, says.
    pub(super) async fn connect(
        stream: TcpStream,
        path: &str,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let (browser, events) = Connection::open(stream, path, tasks).await?;
        let targets = browser.call(None, "Target.getTargets", json!({})).await?;
        let targets = targets["targetInfos"].as_array();
        let page = targets
            .into_iter()
            .flatten()
            .find(|target| target["type"] == "page")
            .context("the browser has no page")?;
        let target = page["targetId"].clone();
        Self::attach(browser, events, target).await
    }

    async fn attach(browser: Connection, events: Events, target: Value) -> anyhow::Result<Self> {
        let asked = json!({ "targetId": target, "flatten": true });
        let attached = browser.call(None, "Target.attachToTarget", asked).await?;
        let session = attached["sessionId"].as_str().context("no session")?;
        let page = Self {
            session: session.to_owned(),
            browser,
            events,
        };
        page.call("Page.enable", json!({})).await?;
        Ok(page)
    }

    /// Goes to `url`, until its DOMContentLoaded.
    ///
    /// # Errors
    /// When the page cannot be loaded within a minute.
    pub(super) async fn goto(&mut self, url: &str) -> anyhow::Result<()> {
        let went = self.call("Page.navigate", json!({ "url": url })).await?;
        if let Some(error) = went["errorText"].as_str() {
            bail!("{url}: {error}");
        }
        let loaded = async {
            while let Some(event) = self.events.recv().await {
                let own = event.session.as_deref() == Some(self.session.as_str());
                if own && event.method == "Page.domContentEventFired" {
                    return Ok(());
                }
            }
            bail!("{url}: the connection ended before the page was there")
        };
        timeout(GOTO, loaded)
            .await
            .with_context(|| format!("{url}: no DOMContentLoaded within a minute"))?
    }

    async fn call(&self, method: &'static str, params: Value) -> anyhow::Result<Value> {
        let session = Some(self.session.as_str());
        Ok(self.browser.call(session, method, params).await?)
    }
}
