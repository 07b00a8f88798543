//! A bare CDP connection: for what the libraries hide, such as close codes and refusals.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Error, Message, protocol::CloseFrame},
};

use super::patience::seconds;

pub struct Cdp {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
}

/// The handshake was answered, but not with 101.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub body: Value,
}

impl Cdp {
    pub async fn connect(url: &str) -> Result<Self, Refused> {
        let dialled = timeout(seconds(70), tokio_tungstenite::connect_async(url)).await;
        match dialled.expect("the gateway answers within its hold") {
            Ok((socket, _response)) => Ok(Self { socket, next: 1 }),
            Err(Error::Http(response)) => Err(Refused {
                status: response.status().as_u16(),
                body: response
                    .body()
                    .as_ref()
                    .and_then(|body| serde_json::from_slice(body).ok())
                    .unwrap_or_default(),
            }),
            Err(other) => panic!("{url}: {other}"),
        }
    }

    /// A connection over a stream that somebody else made.
    pub async fn over(stream: std::net::TcpStream, url: &str) -> Self {
        stream.set_nonblocking(true).unwrap();
        let stream = MaybeTlsStream::Plain(TcpStream::from_std(stream).unwrap());
        let (socket, _response) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        Self { socket, next: 1 }
    }

    /// A connection that must come about.
    pub async fn open(url: &str) -> Self {
        Self::connect(url)
            .await
            .unwrap_or_else(|refused| panic!("{url}: {refused:?}"))
    }

    /// One command on the browser; events in between are passed over.
    pub async fn call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.call_in(None, method, params).await
    }

    /// One command in a flat session.
    pub async fn call_in(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, String> {
        let id = self.next;
        self.next += 1;
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        self.socket
            .send(Message::text(command.to_string()))
            .await
            .unwrap();
        loop {
            let message = timeout(seconds(20), self.socket.next()).await;
            let message = message.unwrap_or_else(|_late| panic!("{method} has no answer"));
            let Some(Ok(Message::Text(text))) = message else {
                return Err(format!("the connection ended: {message:?}"));
            };
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] != id {
                continue;
            }
            return match answer["error"]["message"].as_str() {
                Some(error) => Err(error.to_owned()),
                None => Ok(answer["result"].take()),
            };
        }
    }

    /// A flat session on the first page.
    pub async fn attach(&mut self) -> String {
        let targets = self.call("Target.getTargets", json!({})).await.unwrap();
        let page = targets["targetInfos"]
            .as_array()
            .unwrap()
            .iter()
            .find(|target| target["type"] == "page")
            .expect("a page is open")["targetId"]
            .clone();
        let attached = self
            .call(
                "Target.attachToTarget",
                json!({ "targetId": page, "flatten": true }),
            )
            .await
            .unwrap();
        attached["sessionId"].as_str().unwrap().to_owned()
    }

    /// Reads to the end: the close frame, or `None` where the connection ended without one.
    pub async fn closed(&mut self, within: Duration) -> Option<(u16, String)> {
        let read = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(frame))) => return frame,
                    Some(Ok(_other)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        };
        let frame: Option<CloseFrame> = timeout(within, read)
            .await
            .unwrap_or_else(|_late| panic!("the connection still stands after {within:?}"));
        frame.map(|frame| (frame.code.into(), frame.reason.to_string()))
    }
}
