//! A gateway on real sockets in front of a browser that notes everything: what its tests stand on.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use secrecy::SecretString;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message},
};

use super::{Directory, Door, Limits, serve};
use crate::{
    model::{EndReason, Ending, SessionId, Traffic},
    relay::{
        Clients, Live, SessionView,
        fake_devtools::FakeBrowser,
        meter::Meter,
        supervisor,
        supervisor::tests::{patient, phone},
    },
    runtime::{Lanes, Tasks, boot_now, wall_now},
};

struct Known(HashMap<SessionId, watch::Receiver<SessionView>>);

impl Directory for Known {
    fn look(&self, session: &SessionId) -> Option<watch::Receiver<SessionView>> {
        self.0.get(session).cloned()
    }
}

/// A gateway with one session that is not ready yet.
pub(super) struct Stand {
    pub(super) browser: FakeBrowser,
    pub(super) session: SessionId,
    pub(super) view: watch::Sender<SessionView>,
    address: SocketAddr,
    pub(super) live: Arc<Live>,
    pub(super) tasks: Tasks,
    _limits: watch::Sender<Limits>,
}

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Stand {
    pub(super) async fn new(token: Option<&str>) -> Self {
        let (browser, tasks) = (FakeBrowser::start().await, Tasks::default());
        let (devtools, meter) = (browser.devtools(), Arc::new(Meter::detached()));
        let profile = Arc::new(phone());
        let supervisor = supervisor::start(Arc::clone(&devtools), profile, patient(), &tasks).await;
        let supervisor = supervisor.unwrap();
        let (session, token) = (SessionId::random(), token.map(SecretString::from));
        let live = Arc::new(Live {
            session: session.clone(),
            devtools,
            supervisor,
            token: token.clone(),
            clients: Clients::new(Arc::clone(&meter)),
            meter,
        });
        let until = boot_now().unwrap().after(Duration::from_secs(60));
        let view = watch::Sender::new(SessionView::Expected { until, token });
        let known = Known(HashMap::from([(session.clone(), view.subscribe())]));
        let (limits, seen) = watch::channel(Limits {
            hold_timeout: Duration::from_secs(5),
            max_message_bytes: 1 << 20,
            max_clients_per_session: 2,
            max_connections_per_source: 0,
            wrong_guesses_per_minute: 0,
            origins: Arc::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (lanes, tls) = (Lanes::start("lane").unwrap(), watch::channel(None).1);
        let door = Door { listener, tls };
        serve(door, Arc::new(known), seen, lanes, &tasks);
        Self {
            browser,
            session,
            view,
            address,
            live,
            tasks,
            _limits: limits,
        }
    }

    pub(super) async fn live() -> Self {
        let stand = Self::new(None).await;
        stand.go_live();
        stand
    }

    pub(super) fn go_live(&self) {
        let live = Arc::clone(&self.live);
        self.view.send_replace(SessionView::Live(live));
    }

    pub(super) fn url(&self, query: &str) -> String {
        let session = self.session.as_str();
        format!("ws://{}/sessions/{session}{query}", self.address)
    }

    pub(super) async fn client(&self) -> Socket {
        connect_async(self.url("")).await.unwrap().0
    }

    /// Status and JSON of a refusal, or of a plain answer.
    pub(super) async fn get(&self, path: &str, headers: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: cdp.example\r\nConnection: close\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head[9..12].parse().unwrap(),
            serde_json::from_str(body).unwrap(),
        )
    }

    pub(super) async fn refused(&self, query: &str) -> (u16, Value) {
        match connect_async(self.url(query)).await {
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().clone().unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap();
                (response.status().as_u16(), body["error"].clone())
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn end(&self, reason: EndReason) {
        self.view.send_replace(SessionView::Ended(Ending {
            reason,
            at: wall_now(),
            traffic: Traffic::default(),
            detail: None,
            blame: None,
        }));
    }
}

pub(super) async fn say(client: &mut Socket, command: &Value) {
    let message = Message::text(command.to_string());
    client.send(message).await.unwrap();
}

pub(super) async fn next(client: &mut Socket) -> Option<Message> {
    let next = timeout(Duration::from_secs(5), client.next()).await;
    next.expect("the gateway answers").and_then(Result::ok)
}

pub(super) async fn hear(client: &mut Socket) -> Value {
    let message = next(client).await.unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

pub(super) async fn close_code(client: &mut Socket) -> (u16, String) {
    loop {
        match next(client).await {
            Some(Message::Close(Some(close))) => {
                return (close.code.into(), close.reason.to_string());
            }
            Some(_other) => {}
            None => panic!("no close frame"),
        }
    }
}
