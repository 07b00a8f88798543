//! A small web server of the test's own that remembers what it was sent and answers as it is told.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, task::JoinHandle};

/// What it got.
#[derive(Debug, Clone)]
pub struct Got {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
    /// The same, where it is no text.
    pub raw: Bytes,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        let value = value.unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.to_str().unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What it answers.
pub type Reply = (u16, String, Duration);

/// Stops with its owner.
pub struct Receiver {
    got: Arc<Mutex<Vec<Got>>>,
    server: JoinHandle<()>,
}

impl Receiver {
    /// Serves `listener`; each request is remembered before `reply` says what becomes of it.
    pub fn start(
        listener: TcpListener,
        reply: impl Fn(&Got) -> Reply + Clone + Send + Sync + 'static,
    ) -> Self {
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let memory = Arc::clone(&got);
        let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let request = Got {
                method: method.to_string(),
                path: uri.to_string(),
                headers,
                body: String::from_utf8_lossy(&body).into_owned(),
                raw: body,
            };
            let (status, text, delay) = reply(&request);
            memory.lock().push(request);
            tokio::time::sleep(delay).await;
            (StatusCode::from_u16(status).unwrap(), text)
        };
        let router = Router::new().fallback(answer);
        #[expect(clippy::disallowed_methods, reason = "the test owns it")]
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { got, server }
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}
