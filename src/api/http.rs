//! One HTTP/1.1 server for REST and admin: bounded in connections, in header time and in how long it
//! may take to stop.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::{
    runtime::Tasks,
    tls::{Server, Stream, plain},
};

/// Connections that one listener serves at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 1_024;
/// From a connection's first byte, or the last answer, to the end of the request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// What is being answered when the listener stops may take this long.
const DRAIN: Duration = Duration::from_secs(10);
/// After an accept that failed, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router`, with `tls` where it is given, until the tasks are asked to stop.
pub(super) fn serve(
    name: &'static str,
    (listener, tls): (TcpListener, Option<Server>),
    router: Router,
    tasks: &Tasks,
) {
    let connections = tasks.clone();
    tasks.spawn(name, |stop| {
        accept(name, (listener, tls), router, connections, stop)
    });
}

async fn accept(
    name: &'static str,
    (listener, tls): (TcpListener, Option<Server>),
    router: Router,
    tasks: Tasks,
    stop: CancellationToken,
) {
    let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let slot = std::sync::Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let Some((slot, accepted)) = stop.run_until_cancelled(next).await else {
            return;
        };
        match accepted {
            Ok((stream, peer)) => {
                let (router, tls) = (router.clone(), tls.clone());
                tasks.spawn(name, |stop| async move {
                    let ready = stop.run_until_cancelled(ready(name, (stream, peer), tls));
                    if let Some(Some(stream)) = ready.await {
                        connection(stream, router, stop).await;
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(listener = name, %error, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection that is ready for its first request; `None` for one that is gone or refused.
async fn ready(
    name: &'static str,
    (stream, peer): (TcpStream, SocketAddr),
    tls: Option<Server>,
) -> Option<Stream> {
    stream.set_nodelay(true).ok()?;
    match tls {
        Some(tls) => tls.welcome(name, peer, stream).await,
        None => Some(plain(stream)),
    }
}

async fn connection(stream: Stream, router: Router, stop: CancellationToken) {
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move { Ok::<_, Infallible>(answer(router, request.map(Body::new)).await) }
    });
    let mut connection = std::pin::pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(DRAIN, connection).await {
                Ok(ended) => ended,
                Err(_elapsed) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}

async fn answer(router: Router, request: Request<Body>) -> axum::response::Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
