//! The node's gRPC: `chaser.node.v1`, KEDA's `externalscaler`, `grpc.health.v1` and reflection, over `R/node.sock` and, where
//! configured, TCP. Requests become validated values here; decisions are [`crate::node`]'s.

mod convert;
mod door;
mod duty;
mod egress;
mod listen;
mod operations;
mod route;
mod scaler;
mod secure;
mod service;
mod validate;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tokio_stream::wrappers::UnixListenerStream;
use tonic::{server::NamedService, transport};
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::warn;

pub use door::{Door, Opener};
pub use listen::{BindFailed, bind_unix};

use self::{scaler::Scaler, service::Service};
use crate::{
    node::NodeState,
    runtime::Tasks,
    tls::Server,
    traces,
    wire::{
        DESCRIPTORS, node::node_service_server::NodeServiceServer,
        scaler::external_scaler_server::ExternalScalerServer,
    },
};

/// The largest request, bytes: orders are small.
const MAX_REQUEST: usize = 256 << 10;
/// Calls under way on one connection; more streams than that are refused.
const CALLS: u16 = 256;
/// Streams that were opened and reset before anybody looked at them; more end the connection.
const RESETS: usize = 64;
/// Bytes of one call's headers.
const MAX_HEADERS: u32 = 16 << 10;
/// A connection that says nothing is asked after this long whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The sockets of one node, bound early and served later.
#[derive(Debug)]
pub struct Listeners {
    unix: tokio::net::UnixListener,
    /// Where it is: a socket that nobody serves any more is removed.
    path: PathBuf,
    tcp: Option<tokio::net::TcpListener>,
}

impl Listeners {
    /// Binds `R/node.sock`, which `group` may use unless it is empty, and, where configured, the TCP
    /// address.
    ///
    /// # Errors
    /// [`BindFailed`] names the address and what holds it.
    pub async fn bind(
        (unix, group): (PathBuf, &str),
        tcp: Option<SocketAddr>,
    ) -> Result<Self, BindFailed> {
        let tcp = match tcp {
            Some(address) => Some(listen::bind_tcp(address).await?),
            None => None,
        };
        Ok(Self {
            tcp,
            unix: bind_unix(&unix, group).await?,
            path: unix,
        })
    }
}

/// Serves whoever is behind `door`, with `tls` on TCP, until the tasks are asked to stop.
///
/// # Errors
/// When the schema that was compiled in cannot be reflected.
pub fn serve(
    listeners: Listeners,
    door: Door,
    tls: Option<Server>,
    tasks: &Tasks,
) -> Result<(), tonic_reflection::server::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    tell_health(health.clone(), door.clone(), tasks);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let scaler = ExternalScalerServer::new(Scaler::new(door.clone(), tasks.stopping()))
        .max_decoding_message_size(MAX_REQUEST);
    let service = NodeServiceServer::new(Service::new(door, tasks.stopping()))
        .max_decoding_message_size(MAX_REQUEST);
    let router = transport::Server::builder()
        .concurrency_limit_per_connection(CALLS.into())
        .max_concurrent_streams(Some(CALLS.into()))
        .http2_max_pending_accept_reset_streams(Some(RESETS))
        .http2_max_header_list_size(Some(MAX_HEADERS))
        .http2_keepalive_interval(Some(KEEPALIVE))
        .layer(traces::Continue)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(scaler)
        .add_service(service);
    if let Some(tcp) = listeners.tcp {
        let (router, handshakes) = (router.clone(), tasks.clone());
        tasks.spawn("grpc-tcp", |stop| async move {
            let incoming = secure::accepted(tcp, tls, handshakes);
            let done = router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned());
            if let Err(error) = done.await {
                warn!(%error, "gRPC over TCP ended");
            }
        });
    }
    tasks.spawn("grpc", |stop| async move {
        let incoming = UnixListenerStream::new(listeners.unix);
        let done = router.serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        if let Err(error) = done.await {
            warn!(%error, "gRPC over the unix socket ended");
        }
        if let Err(error) = std::fs::remove_file(&listeners.path) {
            warn!(%error, "the node's socket stays behind");
        }
    });
    Ok(())
}

/// Serving means that orders are taken: not while starting, and not while something is missing.
fn tell_health(health: HealthReporter, door: Door, tasks: &Tasks) {
    tasks.spawn("grpc-health", |stop| async move {
        tell(&health, ServingStatus::NotServing).await;
        let arrived = tokio::select! {
            arrived = door.arrival() => arrived,
            () = stop.cancelled() => return,
        };
        let Some(node) = arrived else { return };
        let mut state = node.state();
        loop {
            let status = match state {
                NodeState::Ready => ServingStatus::Serving,
                NodeState::Starting | NodeState::NotReady(_) => ServingStatus::NotServing,
            };
            tell(&health, status).await;
            tokio::select! {
                next = node.state_after(&state) => state = next,
                () = stop.cancelled() => return,
            }
        }
    });
}

async fn tell(health: &HealthReporter, status: ServingStatus) {
    let name = <NodeServiceServer<Service> as NamedService>::NAME;
    for service in ["", name] {
        health.set_service_status(service, status).await;
    }
}
