//! One page, driven by a library with all its defaults, or by CDP without any.

use serde_json::{Value, json};

use crate::harness::{Cdp, Client, Library, eventually, seconds};

#[derive(Debug, Clone, Copy)]
pub enum Tool {
    Library(Library),
    RawCdp,
}

pub enum Driver {
    Library(Client),
    Raw { cdp: Cdp, page: String },
}

impl Tool {
    pub async fn connect(self, cdp_url: &str) -> Driver {
        match self {
            Self::Library(library) => Driver::Library(library.connect(cdp_url).await),
            Self::RawCdp => {
                let mut cdp = Cdp::open(cdp_url).await;
                let page = cdp.attach().await;
                Driver::Raw { cdp, page }
            }
        }
    }
}

impl Driver {
    pub async fn goto(&mut self, url: &str) {
        match self {
            Self::Library(client) => drop(client.must("goto", json!({ "url": url })).await),
            Self::Raw { .. } => {
                let navigated = self.raw("Page.navigate", json!({ "url": url })).await;
                assert!(navigated["errorText"].is_null(), "{url}: {navigated}");
                self.arrived(url).await;
            }
        }
    }

    /// Goes where nobody answers.
    pub async fn fail_to_go(&mut self, url: &str) {
        match self {
            Self::Library(client) => {
                let shown = client.attempt(url).await;
                assert_eq!(shown.protocol, "chrome-error:", "{url}");
            }
            Self::Raw { .. } => {
                let navigated = self.raw("Page.navigate", json!({ "url": url })).await;
                assert!(navigated["errorText"].is_string(), "{url}: {navigated}");
                self.arrived("chrome-error://chromewebdata/").await;
            }
        }
    }

    pub async fn reload(&mut self) {
        match self {
            Self::Library(client) => drop(client.must("reload", json!({})).await),
            Self::Raw { .. } => drop(self.raw("Page.reload", json!({})).await),
        }
    }

    pub async fn back(&mut self) {
        match self {
            Self::Library(client) => drop(client.must("back", json!({})).await),
            Self::Raw { .. } => self.travel(-1).await,
        }
    }

    pub async fn forward(&mut self) {
        match self {
            Self::Library(client) => drop(client.must("forward", json!({})).await),
            Self::Raw { .. } => self.travel(1).await,
        }
    }

    pub async fn evaluate(&mut self, script: &str) -> Value {
        match self {
            Self::Library(client) => client.evaluate(script).await,
            Self::Raw { .. } => {
                let params = json!({
                    "expression": script,
                    "awaitPromise": true,
                    "returnByValue": true,
                    "userGesture": true,
                });
                let mut answer = self.raw("Runtime.evaluate", params).await;
                assert!(answer["exceptionDetails"].is_null(), "{script}: {answer}");
                answer["result"]["value"].take()
            }
        }
    }

    pub async fn new_page(&mut self) {
        match self {
            Self::Library(client) => drop(client.must("new_page", json!({})).await),
            Self::Raw { .. } => self.open_page(json!({ "url": "about:blank" })).await,
        }
    }

    /// A page in a context of its own; `options` are the library's.
    pub async fn new_context(&mut self, options: Value) {
        match self {
            Self::Library(client) => {
                drop(
                    client
                        .must("new_context", json!({ "options": options }))
                        .await,
                );
            }
            Self::Raw { cdp, .. } => {
                let made = cdp.call("Target.createBrowserContext", json!({})).await;
                let context = made.unwrap()["browserContextId"].take();
                self.open_page(json!({ "url": "about:blank", "browserContextId": context }))
                    .await;
            }
        }
    }

    /// A finger, for a moment.
    pub async fn tap(&mut self, x: u32, y: u32) {
        match self {
            Self::Library(client) => drop(client.must("tap", json!({ "x": x, "y": y })).await),
            Self::Raw { .. } => {
                let points = json!([{ "x": x, "y": y }]);
                for (kind, points) in [("touchStart", points), ("touchEnd", json!([]))] {
                    let params = json!({ "type": kind, "touchPoints": points });
                    self.raw("Input.dispatchTouchEvent", params).await;
                }
            }
        }
    }

    /// A PNG in base64.
    pub async fn screenshot(&mut self) -> String {
        let picture = match self {
            Self::Library(client) => client.must("screenshot", json!({})).await,
            Self::Raw { .. } => self.raw("Page.captureScreenshot", json!({})).await["data"].take(),
        };
        picture.as_str().unwrap().to_owned()
    }

    /// One command on the page, which must succeed.
    pub async fn raw(&mut self, method: &str, params: Value) -> Value {
        match self {
            Self::Library(client) => client.raw_page(method, params).await,
            Self::Raw { cdp, page } => {
                let answer = cdp.call_in(Some(page), method, params).await;
                answer.unwrap_or_else(|error| panic!("{method}: {error}"))
            }
        }
    }

    async fn open_page(&mut self, what: Value) {
        let Self::Raw { cdp, page } = self else {
            panic!("libraries open their own pages");
        };
        let made = cdp.call("Target.createTarget", what).await.unwrap();
        let attach = json!({ "targetId": made["targetId"], "flatten": true });
        let attached = cdp.call("Target.attachToTarget", attach).await.unwrap();
        attached["sessionId"].as_str().unwrap().clone_into(page);
    }

    async fn travel(&mut self, by: i64) {
        let history = self.raw("Page.getNavigationHistory", json!({})).await;
        let at = history["currentIndex"].as_i64().unwrap() + by;
        let entry = &history["entries"][usize::try_from(at).unwrap()];
        let (id, url) = (
            entry["id"].clone(),
            entry["url"].as_str().unwrap().to_owned(),
        );
        self.raw("Page.navigateToHistoryEntry", json!({ "entryId": id }))
            .await;
        self.arrived(&url).await;
    }

    /// Without a client's events: asks until the page says so.
    async fn arrived(&mut self, url: &str) {
        let Self::Raw { cdp, page } = self else {
            panic!("libraries wait by themselves");
        };
        let ask = json!({
            "expression": "location.href + ' ' + document.readyState",
            "returnByValue": true,
        });
        let there = format!("{url} complete");
        eventually(&format!("{url} is loaded"), seconds(20), async || {
            // Between two documents there is none to ask.
            let now = cdp
                .call_in(Some(page), "Runtime.evaluate", ask.clone())
                .await;
            now.is_ok_and(|now| now["result"]["value"] == there.as_str())
                .then_some(())
        })
        .await;
    }
}
