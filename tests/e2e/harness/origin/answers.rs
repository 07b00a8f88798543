//! What the origin says to each path.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use chaser::runtime::Tasks;
use futures::{SinkExt, StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE,
        SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
    },
};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

pub type Body = BoxBody<Bytes, Infallible>;

const CHUNK: usize = 64 << 10;

/// `/` a page, `/bytes/N`, `/drip/N/MS` (N bytes over MS milliseconds), `/upload`, `/headers`,
/// `/ip` (whose asks), `/silent/MS` (a page after so long without a byte), `/ws` (echo); anything else is a small page as well.
pub async fn answer(request: Request<Incoming>, peer: SocketAddr, tasks: &Tasks) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let words: Vec<&str> = path.trim_matches('/').split('/').collect();
    match words[..] {
        ["bytes", count] => download(count.parse().unwrap(), Duration::ZERO),
        ["drip", count, over] => download(
            count.parse().unwrap(),
            Duration::from_millis(over.parse().unwrap()),
        ),
        ["upload"] => upload(request.into_body()).await,
        ["ip"] => text("text/plain", peer.ip().to_string()),
        ["silent", pause] => {
            tokio::time::sleep(Duration::from_millis(pause.parse().unwrap())).await;
            text("text/plain", "at last".to_owned())
        }
        ["headers"] => headers(&request, peer),
        ["ws"] => echo(request, tasks),
        ["favicon.ico"] => {
            let mut nothing = text("image/x-icon", String::new());
            *nothing.status_mut() = StatusCode::NOT_FOUND;
            nothing
        }
        _ => text(
            "text/html",
            format!("<!doctype html><title>origin</title><h1>{path}</h1>"),
        ),
    }
}

fn text(kind: &'static str, content: String) -> Response<Body> {
    Response::builder()
        .header(CONTENT_TYPE, kind)
        .header(CACHE_CONTROL, "no-store")
        .header(ACCESS_CONTROL_ALLOW_ORIGIN, "*")
        .body(Full::new(Bytes::from(content)).boxed())
        .unwrap()
}

fn download(count: usize, over: Duration) -> Response<Body> {
    let size = if over.is_zero() {
        CHUNK
    } else {
        count.div_ceil(20).max(1)
    };
    let pause = over / 20;
    let chunks = stream::unfold(count, move |left| async move {
        if left == 0 {
            return None;
        }
        tokio::time::sleep(pause).await;
        let now = left.min(size);
        Some((Ok(Frame::data(Bytes::from(vec![b'x'; now]))), left - now))
    });
    Response::builder()
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, count)
        .header(CACHE_CONTROL, "no-store")
        .header(ACCESS_CONTROL_ALLOW_ORIGIN, "*")
        .body(BodyExt::boxed(StreamBody::new(chunks)))
        .unwrap()
}

async fn upload(mut body: Incoming) -> Response<Body> {
    let mut count = 0;
    while let Some(Ok(frame)) = body.frame().await {
        count += frame.data_ref().map_or(0, Bytes::len);
    }
    text(
        "application/json",
        serde_json::json!({ "received": count }).to_string(),
    )
}

fn headers(request: &Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    let headers: serde_json::Map<String, serde_json::Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
        .collect();
    let seen = serde_json::json!({ "peer": peer.ip(), "headers": headers });
    text("application/json", seen.to_string())
}

fn echo(mut request: Request<Incoming>, tasks: &Tasks) -> Response<Body> {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return text("text/plain", "a WebSocket was expected".to_owned());
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tasks.spawn("echo", |_stop| async move {
        let Ok(io) = upgrade.await else { return };
        let mut socket =
            WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                break;
            }
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept)
        .body(Full::default().boxed())
        .unwrap()
}
