//! What DevTools serves beside its sockets, with addresses that lead through this gateway.
//!
//! Addresses of DevTools' own front end are left out: it is a web page, and none may attach.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{self, HeaderValue},
};
use serde_json::{Map, Value};

use super::{
    refusal::Refusal,
    request::{Asked, Inspect, Wanted, websocket_url},
};
use crate::{
    cdp::{self, CdpError},
    relay::Live,
};

type Object = Map<String, Value>;

/// Answers in the browser's place; `target` is asked of it.
pub(super) async fn answer(
    live: &Live,
    headers: &HeaderMap,
    asked: &Asked,
    what: &Inspect,
) -> Result<Response<Full<Bytes>>, Refusal> {
    let path = match what {
        Inspect::List => "/json/list".to_owned(),
        Inspect::Protocol => "/json/protocol".to_owned(),
        Inspect::New(url) => format!("/json/new?{url}"),
        Inspect::Activate(id) => format!("/json/activate/{id}"),
        Inspect::Close(id) => format!("/json/close/{id}"),
    };
    let method = Wanted::Inspect(what.clone()).method();
    let answered = async {
        let stream = live.devtools.connect().await?;
        cdp::request(stream, method, &path).await
    };
    let (status, body) = answered.await.map_err(unavailable)?;
    if status == StatusCode::NOT_FOUND {
        return Err(Refusal::TargetNotFound);
    }
    if status != StatusCode::OK {
        tracing::debug!(%status, path, "DevTools refused");
        return Err(Refusal::BrowserUnavailable);
    }
    let unreadable = |error: serde_json::Error| unavailable(error.into());
    let own = |target: Object| through_here(target, headers, asked);
    let body = match what {
        Inspect::List => {
            let targets: Vec<Object> = serde_json::from_slice(&body).map_err(unreadable)?;
            let shown = targets.into_iter().filter(is_shown).map(own);
            Value::Array(shown.collect::<Result<_, _>>()?)
                .to_string()
                .into()
        }
        Inspect::New(_) => own(serde_json::from_slice(&body).map_err(unreadable)?)?
            .to_string()
            .into(),
        Inspect::Protocol | Inspect::Activate(_) | Inspect::Close(_) => body,
    };
    let kind = match what {
        Inspect::Activate(_) | Inspect::Close(_) => "text/html; charset=UTF-8",
        Inspect::List | Inspect::Protocol | Inspect::New(_) => JSON,
    };
    Ok(ok(body, kind))
}

const JSON: &str = "application/json; charset=UTF-8";

/// The browser's description of itself.
pub(super) fn version(
    live: &Live,
    headers: &HeaderMap,
    asked: &Asked,
) -> Result<Response<Full<Bytes>>, Refusal> {
    let mut description = live.supervisor.browser().version.clone();
    let url = websocket_url(headers, asked, None)?;
    description.insert("webSocketDebuggerUrl".to_owned(), url.into());
    Ok(ok(Value::Object(description).to_string().into(), JSON))
}

/// Chrome's own surfaces are no targets of a client.
fn is_shown(target: &Object) -> bool {
    let kind = target.get("type").and_then(Value::as_str);
    !matches!(kind, Some("browser_ui" | "tab"))
}

fn through_here(mut target: Object, headers: &HeaderMap, asked: &Asked) -> Result<Value, Refusal> {
    target.retain(|key, _value| !key.starts_with("devtoolsFrontendUrl"));
    let id = target.get("id").and_then(Value::as_str).unwrap_or_default();
    let url = websocket_url(headers, asked, Some(id))?;
    target.insert("webSocketDebuggerUrl".to_owned(), url.into());
    Ok(Value::Object(target))
}

fn unavailable(error: CdpError) -> Refusal {
    tracing::debug!(%error, "no answer from the browser");
    Refusal::BrowserUnavailable
}

fn ok(body: Bytes, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
