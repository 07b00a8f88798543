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

/// Connected to one browser.
#[derive(Debug)]
pub(super) struct Client {
    browser: Connection,
    events: Events,
}

/// A page that is attached to.
#[derive(Debug)]
pub(super) struct Page {
    target: Value,
    session: String,
}

impl Client {
    /// Opens the WebSocket.
    ///
    /// # Errors
    /// Whatever the browser, or who stands before it, says.
    pub(super) async fn open(stream: TcpStream, path: &str, tasks: &Tasks) -> anyhow::Result<Self> {
        let (browser, events) = Connection::open(stream, path, tasks).await?;
        Ok(Self { browser, events })
    }

    /// Finds the page that is open and attaches to it.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn first_page(&self) -> anyhow::Result<Page> {
        let targets = self
            .browser
            .call(None, "Target.getTargets", json!({}))
            .await?;
        let targets = targets["targetInfos"].as_array();
        let page = targets
            .into_iter()
            .flatten()
            .find(|target| target["type"] == "page")
            .context("the browser has no page")?;
        self.attach(page["targetId"].clone()).await
    }

    /// Opens a page, until it has evaluated something.
    ///
    /// # Errors
    /// Whatever the browser says.
    pub(super) async fn new_page(&self) -> anyhow::Result<Page> {
        let asked = json!({ "url": "about:blank" });
        let made = self
            .browser
            .call(None, "Target.createTarget", asked)
            .await?;
        let page = self.attach(made["targetId"].clone()).await?;
        let asked = json!({ "expression": "document.readyState" });
        self.call(&page, "Runtime.evaluate", asked).await?;
        Ok(page)
    }

    async fn attach(&self, target: Value) -> anyhow::Result<Page> {
        let asked = json!({ "targetId": target, "flatten": true });
        let attached = self
            .browser
            .call(None, "Target.attachToTarget", asked)
            .await?;
        let session = attached["sessionId"].as_str().context("no session")?;
        let session = session.to_owned();
        let page = Page { target, session };
        self.call(&page, "Page.enable", json!({})).await?;
        let asked = json!({ "enabled": true });
        self.call(&page, "Page.setLifecycleEventsEnabled", asked)
            .await?;
        Ok(page)
    }

    /// Goes to `url`, until its DOMContentLoaded.
    ///
    /// # Errors
    /// When the page cannot be loaded within a minute.
    pub(super) async fn goto(&mut self, page: &Page, url: &str) -> anyhow::Result<()> {
        let went = self
            .call(page, "Page.navigate", json!({ "url": url }))
            .await?;
        if let Some(error) = went["errorText"].as_str() {
            bail!("{url}: {error}");
        }
        let loaded = async {
            while let Some(event) = self.events.recv().await {
                // The empty page that was there before has its own, and it may come late.
                let own = event.session.as_deref() == Some(page.session.as_str())
                    && event.params["loaderId"] == went["loaderId"];
                if own && event.params["name"] == "DOMContentLoaded" {
                    return Ok(());
                }
            }
            bail!("{url}: the connection ended before the page was there")
        };
        timeout(GOTO, loaded)
            .await
            .with_context(|| format!("{url}: no DOMContentLoaded within a minute"))?
    }

    /// Closes a page.
    ///
    /// # Errors
    /// Whatever the browser says.
    pub(super) async fn close(&self, page: Page) -> anyhow::Result<()> {
        let asked = json!({ "targetId": page.target });
        self.browser.call(None, "Target.closeTarget", asked).await?;
        Ok(())
    }

    async fn call(
        &self,
        page: &Page,
        method: &'static str,
        params: Value,
    ) -> anyhow::Result<Value> {
        let session = Some(page.session.as_str());
        Ok(self.browser.call(session, method, params).await?)
    }
}
