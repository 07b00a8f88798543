//! A browser for tests: speaks DevTools' HTTP and WebSocket on real sockets, notes every command.

use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{broadcast, watch},
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

use super::DevTools;
use crate::runtime::Tasks;

/// The fake; dropping it cuts every connection.
pub(super) struct FakeBrowser {
    pub(super) address: SocketAddr,
    /// `(connection, command)` in the order of arrival.
    pub(super) log: Arc<Mutex<Log>>,
    seen: watch::Sender<usize>,
    /// While true no command is taken.
    pub(super) deaf: watch::Sender<bool>,
    /// Messages to send on every connection.
    say: broadcast::Sender<Message>,
    pub(super) tasks: Tasks,
}

impl FakeBrowser {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let browser = Self {
            address: listener.local_addr().unwrap(),
            log: Arc::default(),
            seen: watch::Sender::new(0),
            deaf: watch::Sender::new(false),
            say: broadcast::channel(64).0,
            tasks: Tasks::default(),
        };
        let (tasks, log) = (browser.tasks.clone(), Arc::clone(&browser.log));
        let (seen, say) = (browser.seen.clone(), browser.say.clone());
        let deaf = browser.deaf.subscribe();
        browser.tasks.spawn("fake browser", |stop| async move {
            for number in 0.. {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.cancelled() => return,
                };
                let (stream, _peer) = accepted.unwrap();
                let (log, seen, say) = (Arc::clone(&log), seen.clone(), say.subscribe());
                let mut deaf = deaf.clone();
                tasks.spawn("fake devtools", |stop| async move {
                    let mut say = say;
                    let serve = serve(stream, number, (&log, &seen), &mut deaf, &mut say);
                    tokio::select! {
                        () = serve => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
        });
        browser
    }

    pub(super) fn devtools(&self) -> Arc<DevTools> {
        let sockets = (0..64).map(|_| {
            let kind = socket2::Type::STREAM.nonblocking();
            OwnedFd::from(socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap())
        });
        Arc::new(DevTools::direct(self.address, sockets))
    }

    pub(super) fn say(&self, message: Message) {
        self.say.send(message).unwrap();
    }

    /// Waits until `count` commands of `method` have come and gives them.
    pub(super) async fn commands(&self, method: &str, count: usize) -> Vec<(usize, Value)> {
        let mut seen = self.seen.subscribe();
        let matching = || -> Vec<_> {
            let log = self.log.lock();
            let of_method = log
                .iter()
                .filter(|(_, command)| command["method"] == method);
            of_method.cloned().collect()
        };
        let enough = seen.wait_for(|_| matching().len() >= count);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(5), enough).await;
        drop(waited.expect("commands come").unwrap());
        matching()
    }
}

impl Drop for FakeBrowser {
    fn drop(&mut self) {
        self.tasks.stopping().cancel();
    }
}

/// Commands that came, with the number of the connection each came on.
type Log = Vec<(usize, Value)>;

async fn serve(
    mut stream: TcpStream,
    number: usize,
    (log, seen): (&Mutex<Log>, &watch::Sender<usize>),
    deaf: &mut watch::Receiver<bool>,
    say: &mut broadcast::Receiver<Message>,
) {
    let mut head = [0; 18];
    stream.peek(&mut head).await.unwrap();
    if head.starts_with(b"GET /json/version") {
        return say_json(&mut stream, &description()).await;
    }
    if head.starts_with(b"GET /json/list") {
        return say_json(&mut stream, &targets()).await;
    }
    let Ok(mut socket) = accept_async(stream).await else {
        return;
    };
    loop {
        tokio::select! {
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                if let Message::Text(text) = message {
                    let command: Value = serde_json::from_str(&text).unwrap();
                    drop(deaf.wait_for(|deaf| !deaf).await);
                    let replies = answers(&command);
                    log.lock().push((number, command));
                    seen.send_modify(|count| *count += 1);
                    for reply in replies {
                        drop(socket.send(Message::text(reply.to_string())).await);
                    }
                }
            }
            Ok(message) = say.recv() => drop(socket.send(message).await),
        }
    }
}

/// One page is there already and is attached to before the order to attach is answered.
fn answers(command: &Value) -> Vec<Value> {
    let mut out = Vec::new();
    let method = command["method"].as_str().unwrap_or_default();
    if method == "Target.setAutoAttach" && command.get("sessionId").is_none() {
        out.push(attached("PAGE", "page"));
    }
    if method == "Test.silent" {
        return out;
    }
    let session = &command["sessionId"];
    let result = match method {
        "Target.getTargetInfo" => json!({ "targetInfo": { "targetId": session } }),
        "Runtime.evaluate" if session == "FRONT" => json!({ "result": { "value": "visible" } }),
        "Runtime.evaluate" => json!({ "result": { "value": "hidden" } }),
        _ => json!({ "from": method }),
    };
    out.push(json!({ "id": command["id"], "sessionId": session, "result": result }));
    out
}

pub(super) fn attached(session: &str, kind: &str) -> Value {
    json!({ "method": "Target.attachedToTarget", "params": {
        "sessionId": session,
        "waitingForDebugger": true,
        "targetInfo": { "targetId": session, "type": kind, "url": "about:blank",
            "canAccessOpener": false },
    }})
}

async fn say_json(stream: &mut TcpStream, body: &Value) {
    let mut request = BytesMut::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return;
        }
    }
    let body = body.to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
}

fn description() -> Value {
    json!({
        "Browser": "Chrome/156.0.8078.79",
        "Protocol-Version": "1.3",
        "User-Agent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/156.0.0.0 Mobile Safari/537.36",
        "webSocketDebuggerUrl": "ws://localhost/devtools/browser/guid",
    })
}

fn targets() -> Value {
    json!([
        {
            "id": "PAGE",
            "type": "page",
            "url": "about:blank",
            "devtoolsFrontendUrl": "https://front.end/?ws=localhost/devtools/page/PAGE",
            "webSocketDebuggerUrl": "ws://localhost/devtools/page/PAGE",
        },
        { "id": "BAR", "type": "browser_ui", "url": "chrome://omnibox-popup.top-chrome/" },
    ])
}
