//! The node's gRPC interface over `R/node.sock`, as a control plane uses it.

use std::{path::PathBuf, time::Duration};

use chaser::{
    model::SessionId,
    wire::node::{
        Condition, ConditionLevel, EndReason, Event, GetNodeRequest, GetNodeResponse,
        GetSessionRequest, ProvisionRequest, Session, SessionSpec, Substrate, TeardownRequest,
        TeardownResponse, WatchRequest, node_service_client::NodeServiceClient,
        watch_response::Item,
    },
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint, Uri},
};

use super::patience::eventually;

#[derive(Clone)]
pub struct Node {
    socket: PathBuf,
}

impl Node {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// A connection for one call: none stays open between calls.
    pub async fn channel(&self) -> Channel {
        let socket = self.socket.clone();
        Endpoint::from_static("http://node.invalid")
            .connect_with_connector(tower::service_fn(move |_: Uri| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            }))
            .await
            .expect("R/node.sock answers")
    }

    pub async fn dial(&self) -> NodeServiceClient<Channel> {
        NodeServiceClient::new(self.channel().await)
    }

    pub async fn status(&self) -> GetNodeResponse {
        let answer = self.dial().await.get_node(GetNodeRequest {}).await;
        answer.unwrap().into_inner()
    }

    /// Waits until a condition is at this level.
    pub async fn stands(&self, name: &str, level: ConditionLevel) -> Condition {
        let what = format!("{name} is {level:?}");
        eventually(&what, Duration::from_secs(30), async || {
            let mut conditions = self.status().await.conditions.into_iter();
            conditions.find(|one| one.name == name && one.level() == level)
        })
        .await
    }

    pub async fn provision(&self, id: &str, spec: SessionSpec) -> Result<Session, Status> {
        let request = ProvisionRequest {
            session_id: id.to_owned(),
            spec: Some(spec),
            wait: true,
        };
        let answer = self.dial().await.provision(request).await?;
        Ok(answer.into_inner().session.unwrap())
    }

    pub async fn teardown(&self, id: &str) -> Result<TeardownResponse, Status> {
        let request = TeardownRequest {
            session_id: id.to_owned(),
            reason: EndReason::ClientDelete.into(),
        };
        Ok(self.dial().await.teardown(request).await?.into_inner())
    }

    pub async fn session(&self, id: &str) -> Result<Session, Status> {
        let request = GetSessionRequest {
            session_id: id.to_owned(),
        };
        let answer = self.dial().await.get_session(request).await?;
        Ok(answer.into_inner().session.unwrap())
    }

    /// Every event that is still held, until `enough` says so.
    pub async fn events_until(&self, enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        let request = WatchRequest {
            after_seq: 0,
            without_meters: true,
        };
        let mut stream: Streaming<_> = self.dial().await.watch(request).await.unwrap().into_inner();
        let mut events = Vec::new();
        let collect = async {
            while !enough(&events) {
                let item = stream.message().await.unwrap().expect("the watch goes on");
                match item.item.unwrap() {
                    Item::Event(event) => events.push(event),
                    Item::Gap(gap) => panic!("a gap before {}", gap.oldest_seq),
                    Item::Meters(meters) => panic!("nobody asked for {meters:?}"),
                }
            }
        };
        let collected = tokio::time::timeout(Duration::from_secs(20), collect).await;
        collected.expect("the events come");
        events
    }
}

/// A fresh id, as a control plane would choose it.
pub fn session_id() -> String {
    SessionId::random().as_str().to_owned()
}

/// A plain order with this lifetime.
pub fn spec(ttl: Duration) -> SessionSpec {
    SessionSpec {
        substrate: Substrate::Chromium.into(),
        profile: "default".to_owned(),
        ttl: Some(ttl.try_into().unwrap()),
        idle_timeout: None,
        labels: std::collections::HashMap::default(),
        cdp_token: String::new(),
        egress: None,
    }
}
