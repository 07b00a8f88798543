//! A node that runs nothing, behind a real gRPC server: for tests of the control plane and its API.

use std::{collections::BTreeMap, path::PathBuf, pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::{net::UnixListener, sync::broadcast};
use tokio_stream::wrappers::{BroadcastStream, UnixListenerStream};
use tonic::{Request, Response, Status};

use super::{Config, Control, Node, Parts, Store, Workspace, follow};
use crate::{
    runtime::Tasks,
    wire::node::{
        self as pb,
        node_service_server::{NodeService, NodeServiceServer},
    },
};

/// The fake and what it is told to do next.
#[derive(Debug, Clone)]
pub(crate) struct FakeNode {
    pub(crate) sessions: Arc<Mutex<BTreeMap<String, pb::Session>>>,
    /// The next orders are refused with this.
    pub(crate) refusal: Arc<Mutex<Option<Status>>>,
    /// The next question about one session is answered with what was before.
    pub(crate) late: Arc<Mutex<Option<pb::Session>>>,
    events: broadcast::Sender<pb::WatchResponse>,
}

/// A control plane over a fake node.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) node: FakeNode,
    pub(crate) control: Control,
    pub(crate) tasks: Tasks,
    pub(crate) dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn start(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tasks = Tasks::default();
        let node = FakeNode {
            sessions: Arc::default(),
            refusal: Arc::default(),
            late: Arc::default(),
            events: broadcast::Sender::new(64),
        };
        let socket = dir.path().join("node.sock");
        node.serve(&socket, &tasks);
        let parts = Parts {
            store: Store::open(&dir.path().join("control.db")).unwrap(),
            node: Node::new(socket).unwrap(),
            keys: (config.keys.iter().cloned())
                .map(|key| (key, Workspace::standard()))
                .collect(),
            config,
            idle_timeout: std::time::Duration::from_secs(300),
            tokens: None,
            profiles: vec!["default".to_owned(), "tablet".to_owned()],
        };
        let control = Control::new(parts, &tasks);
        follow::start(&control, &tasks);
        Self {
            node,
            control,
            tasks,
            dir,
        }
    }
}

impl FakeNode {
    pub(crate) fn serve(&self, socket: &PathBuf, tasks: &Tasks) {
        let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
        let service = NodeServiceServer::new(self.clone());
        tasks.spawn("fake node", |stop| async move {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
                .await
                .unwrap();
        });
    }

    /// Changes a session and tells the watchers.
    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut pb::Session)) {
        let mut sessions = self.sessions.lock();
        let session = sessions.get_mut(id).unwrap();
        change(session);
        drop(self.events.send(event(session.clone())));
    }
}

fn event(session: pb::Session) -> pb::WatchResponse {
    let event = pb::Event {
        seq: 1,
        at: None,
        what: Some(pb::event::What::Session(session)),
    };
    pb::WatchResponse {
        item: Some(pb::watch_response::Item::Event(event)),
    }
}

pub(crate) const fn timestamp(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds,
        nanos: 123_456_789,
    })
}

pub(crate) fn ended(session: &mut pb::Session, reason: pb::EndReason) {
    session.set_phase(pb::Phase::Ended);
    session.set_end_reason(reason);
    session.ended_at = timestamp(1_800_000_000);
}

#[tonic::async_trait]
impl NodeService for FakeNode {
    async fn provision(
        &self,
        request: Request<pb::ProvisionRequest>,
    ) -> Result<Response<pb::ProvisionResponse>, Status> {
        if let Some(status) = self.refusal.lock().clone() {
            return Err(status);
        }
        let order = request.into_inner();
        let mut session = pb::Session {
            id: order.session_id.clone(),
            spec: order.spec,
            ..pb::Session::default()
        };
        session.set_phase(pb::Phase::Creating);
        self.sessions
            .lock()
            .insert(order.session_id, session.clone());
        Ok(Response::new(pb::ProvisionResponse {
            session: Some(session),
        }))
    }

    async fn teardown(
        &self,
        request: Request<pb::TeardownRequest>,
    ) -> Result<Response<pb::TeardownResponse>, Status> {
        let order = request.into_inner();
        let mut sessions = self.sessions.lock();
        let session = sessions
            .get_mut(&order.session_id)
            .ok_or_else(|| Status::not_found("no such session"))?;
        let won = session.phase() != pb::Phase::Ended;
        if won {
            ended(session, order.reason());
        }
        Ok(Response::new(pb::TeardownResponse {
            session: Some(session.clone()),
            won,
        }))
    }

    async fn get_session(
        &self,
        request: Request<pb::GetSessionRequest>,
    ) -> Result<Response<pb::GetSessionResponse>, Status> {
        let late = self.late.lock().take();
        let now = || {
            let sessions = self.sessions.lock();
            sessions.get(&request.get_ref().session_id).cloned()
        };
        let session = late
            .or_else(now)
            .ok_or_else(|| Status::not_found("no such session"))?;
        Ok(Response::new(pb::GetSessionResponse {
            session: Some(session),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Result<Response<pb::ListSessionsResponse>, Status> {
        let live_only = request.into_inner().live_only;
        let sessions = self.sessions.lock();
        let wanted = |s: &&pb::Session| !live_only || s.phase() != pb::Phase::Ended;
        Ok(Response::new(pb::ListSessionsResponse {
            sessions: sessions.values().filter(wanted).cloned().collect(),
        }))
    }

    async fn inspect_session(
        &self,
        request: Request<pb::InspectSessionRequest>,
    ) -> Result<Response<pb::InspectSessionResponse>, Status> {
        Ok(Response::new(pb::InspectSessionResponse {
            session_id: request.into_inner().session_id,
            ..pb::InspectSessionResponse::default()
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        _request: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let events = BroadcastStream::new(self.events.subscribe());
        let events = events.map(|event| event.map_err(|lag| Status::data_loss(lag.to_string())));
        Ok(Response::new(Box::pin(events)))
    }

    async fn get_node(
        &self,
        _request: Request<pb::GetNodeRequest>,
    ) -> Result<Response<pb::GetNodeResponse>, Status> {
        let mut node = pb::GetNodeResponse {
            max_sessions: 8,
            ready: u32::try_from(self.sessions.lock().len()).unwrap(),
            ..pb::GetNodeResponse::default()
        };
        node.set_state(pb::NodeState::Ready);
        Ok(Response::new(node))
    }

    async fn cordon(
        &self,
        _request: Request<pb::CordonRequest>,
    ) -> Result<Response<pb::CordonResponse>, Status> {
        Err(never_asked())
    }

    async fn uncordon(
        &self,
        _request: Request<pb::UncordonRequest>,
    ) -> Result<Response<pb::UncordonResponse>, Status> {
        Err(never_asked())
    }

    async fn drain(
        &self,
        _request: Request<pb::DrainRequest>,
    ) -> Result<Response<pb::DrainResponse>, Status> {
        Err(never_asked())
    }

    async fn reconcile(
        &self,
        _request: Request<pb::ReconcileRequest>,
    ) -> Result<Response<pb::ReconcileResponse>, Status> {
        Err(never_asked())
    }

    async fn renew_lease(
        &self,
        _request: Request<pb::RenewLeaseRequest>,
    ) -> Result<Response<pb::RenewLeaseResponse>, Status> {
        Err(never_asked())
    }

    async fn list_routes(
        &self,
        _request: Request<pb::ListRoutesRequest>,
    ) -> Result<Response<pb::ListRoutesResponse>, Status> {
        Err(never_asked())
    }

    async fn check_route(
        &self,
        _request: Request<pb::CheckRouteRequest>,
    ) -> Result<Response<pb::CheckRouteResponse>, Status> {
        Err(never_asked())
    }

    async fn add_routes(
        &self,
        _request: Request<pb::AddRoutesRequest>,
    ) -> Result<Response<pb::AddRoutesResponse>, Status> {
        Err(never_asked())
    }

    async fn remove_route(
        &self,
        _request: Request<pb::RemoveRouteRequest>,
    ) -> Result<Response<pb::RemoveRouteResponse>, Status> {
        Err(never_asked())
    }

    async fn drain_route(
        &self,
        _request: Request<pb::DrainRouteRequest>,
    ) -> Result<Response<pb::DrainRouteResponse>, Status> {
        Err(never_asked())
    }

    async fn reload_routes(
        &self,
        _request: Request<pb::ReloadRoutesRequest>,
    ) -> Result<Response<pb::ReloadRoutesResponse>, Status> {
        Err(never_asked())
    }
}

/// What only operators order.
fn never_asked() -> Status {
    Status::unimplemented("the control plane does not ask this of a node")
}
