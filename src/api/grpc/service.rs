//! The calls of `chaser.node.v1`: validate, ask the node, convert.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, metadata::MetadataValue};

use super::{Door, convert, duty, route, validate};
use crate::{
    api::codes,
    model::{Classify, Phase},
    node::NodeError,
    session::Told,
    wire::{
        RETRY_PUSHBACK,
        node::{self as pb, node_service_server::NodeService},
    },
};

/// One node behind gRPC.
#[derive(Debug)]
pub(super) struct Service {
    door: Door,
    stop: CancellationToken,
}

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    pub(super) const fn new(door: Door, stop: CancellationToken) -> Self {
        Self { door, stop }
    }
}

impl From<NodeError> for Status {
    fn from(error: NodeError) -> Self {
        // gRPC has words of its own for these conflicts.
        let code = if matches!(error, NodeError::OtherSpec { .. }) {
            tonic::Code::AlreadyExists
        } else if matches!(error, NodeError::OldLease { .. }) {
            tonic::Code::FailedPrecondition
        } else {
            codes(error.class()).grpc
        };
        let mut status = Self::new(code, error.to_string());
        if let Some(wait) = error.retry_after() {
            let millis = MetadataValue::from(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            status.metadata_mut().insert(RETRY_PUSHBACK, millis);
        }
        status
    }
}

#[tonic::async_trait]
impl NodeService for Service {
    async fn provision(
        &self,
        request: Request<pb::ProvisionRequest>,
    ) -> Answer<pb::ProvisionResponse> {
        let order = request.into_inner();
        let id = validate::session_id(&order.session_id)?;
        let node = self.door.node()?;
        let spec = validate::spec(order.spec, node.profiles(), node.idle_default())?;
        let mut session = node.provision(id, spec).await?;
        if order.wait {
            // A driver that is gone has published its last word before.
            let _gone = session
                .wait_for(|session| {
                    session.phase != Phase::Creating && session.phase != Phase::Closing
                })
                .await;
        }
        let session = session.borrow().clone();
        Ok(Response::new(pb::ProvisionResponse {
            session: Some(convert::session(session)),
        }))
    }

    async fn teardown(
        &self,
        request: Request<pb::TeardownRequest>,
    ) -> Answer<pb::TeardownResponse> {
        let teardown = request.into_inner();
        let id = validate::session_id(&teardown.session_id)?;
        let reason = validate::end_reason(teardown.reason)?;
        let (session, won) = self.door.node()?.teardown(&id, reason).await?;
        Ok(Response::new(pb::TeardownResponse {
            session: Some(convert::session(session)),
            won,
        }))
    }

    async fn get_session(
        &self,
        request: Request<pb::GetSessionRequest>,
    ) -> Answer<pb::GetSessionResponse> {
        let id = validate::session_id(&request.into_inner().session_id)?;
        let session = self.door.node()?.get(&id).await?;
        Ok(Response::new(pb::GetSessionResponse {
            session: Some(convert::session(session)),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Answer<pb::ListSessionsResponse> {
        let request = request.into_inner();
        let node = self.door.node()?;
        let sessions = node.list(request.live_only, request.with_usage).await?;
        Ok(Response::new(pb::ListSessionsResponse {
            sessions: sessions.into_iter().map(convert::session).collect(),
        }))
    }

    async fn inspect_session(
        &self,
        request: Request<pb::InspectSessionRequest>,
    ) -> Answer<pb::InspectSessionResponse> {
        let id = validate::session_id(&request.into_inner().session_id)?;
        Ok(Response::new(convert::placement(
            self.door.node()?.inspect(&id).await?,
        )))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Answer<Self::WatchStream> {
        let node = self.door.arrival().await;
        let node = node.ok_or_else(|| Status::unavailable("the node could not start"))?;
        let request = request.into_inner();
        let items = node.hub().watch(request.after_seq);
        let told = if request.without_meters {
            items.map(Told::Item).left_stream()
        } else {
            node.hub().meters().beside(items).right_stream()
        };
        let told = told
            .map(|told| Ok(convert::told(told)))
            .take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(Box::pin(told)))
    }

    async fn get_node(&self, _: Request<pb::GetNodeRequest>) -> Answer<pb::GetNodeResponse> {
        Ok(Response::new(match self.door.node() {
            Ok(node) => convert::status(node.status().await),
            Err(_starting) => self.door.starting(),
        }))
    }

    async fn cordon(&self, _: Request<pb::CordonRequest>) -> Answer<pb::CordonResponse> {
        let node = self.door.node()?;
        let duty = duty::of(&node, node.cordon().await?);
        Ok(Response::new(pb::CordonResponse { duty }))
    }

    async fn uncordon(&self, _: Request<pb::UncordonRequest>) -> Answer<pb::UncordonResponse> {
        let node = self.door.node()?;
        let duty = duty::of(&node, node.uncordon().await?);
        Ok(Response::new(pb::UncordonResponse { duty }))
    }

    async fn drain(&self, request: Request<pb::DrainRequest>) -> Answer<pb::DrainResponse> {
        let node = self.door.node()?;
        let request = request.into_inner();
        let limit = duty::span("deadline", request.deadline)?;
        let duty = duty::of(&node, node.drain(limit, request.until_restart).await?);
        Ok(Response::new(pb::DrainResponse { duty }))
    }

    async fn list_routes(
        &self,
        _: Request<pb::ListRoutesRequest>,
    ) -> Answer<pb::ListRoutesResponse> {
        let routes = self.door.node()?.routes_now().into_iter();
        Ok(Response::new(pb::ListRoutesResponse {
            routes: routes.map(route::route).collect(),
        }))
    }

    async fn check_route(
        &self,
        request: Request<pb::CheckRouteRequest>,
    ) -> Answer<pb::CheckRouteResponse> {
        let name = request.into_inner().name;
        let seen = self.door.node()?.check_route(&name).await?;
        Ok(Response::new(route::checked(seen)))
    }

    async fn add_routes(
        &self,
        request: Request<pb::AddRoutesRequest>,
    ) -> Answer<pb::AddRoutesResponse> {
        let names = self.door.node()?.add_routes(&request.into_inner().tables)?;
        Ok(Response::new(pb::AddRoutesResponse { names }))
    }

    async fn remove_route(
        &self,
        request: Request<pb::RemoveRouteRequest>,
    ) -> Answer<pb::RemoveRouteResponse> {
        self.door.node()?.remove_route(&request.into_inner().name)?;
        Ok(Response::new(pb::RemoveRouteResponse {}))
    }

    async fn drain_route(
        &self,
        request: Request<pb::DrainRouteRequest>,
    ) -> Answer<pb::DrainRouteResponse> {
        let order = request.into_inner();
        self.door.node()?.drain_route(&order.name, order.back)?;
        Ok(Response::new(pb::DrainRouteResponse {}))
    }

    async fn reload_routes(
        &self,
        _: Request<pb::ReloadRoutesRequest>,
    ) -> Answer<pb::ReloadRoutesResponse> {
        let routes = self.door.node()?.reload_routes().await?;
        Ok(Response::new(pb::ReloadRoutesResponse {
            routes: u32::try_from(routes).unwrap_or(u32::MAX),
        }))
    }

    async fn reconcile(
        &self,
        request: Request<pb::ReconcileRequest>,
    ) -> Answer<pb::ReconcileResponse> {
        let request = request.into_inner();
        let owned = duty::owned(&request)?;
        let grace = duty::span("grace", request.grace)?;
        let ownership = self.door.node()?.reconcile(&owned, grace)?;
        Ok(Response::new(duty::ownership(ownership)))
    }

    async fn renew_lease(
        &self,
        request: Request<pb::RenewLeaseRequest>,
    ) -> Answer<pb::RenewLeaseResponse> {
        let request = request.into_inner();
        let ttl = duty::ttl(request.ttl)?;
        let owned = match request.owned {
            Some(owned) => Some((duty::owned(&owned)?, duty::span("grace", owned.grace)?)),
            None => None,
        };
        let node = self.door.node()?;
        let lease = node.renew_lease(request.epoch, ttl, owned).await?;
        Ok(Response::new(pb::RenewLeaseResponse {
            lease: Some(duty::lease(lease)),
        }))
    }
}
