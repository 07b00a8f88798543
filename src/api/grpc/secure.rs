//! Connections over TCP, in the clear or after a handshake: one that is slow holds up no other.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_stream::{Stream as Streams, wrappers::ReceiverStream};
use tonic::transport::server::Connected;
use tracing::warn;

use crate::{
    runtime::Tasks,
    tls::{Server, Stream, plain},
};

/// Connections that the listener has at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 1_024;
/// After an accept that failed, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection, and its place among those that may be.
#[derive(Debug)]
pub(super) struct Peer {
    stream: Stream,
    _place: OwnedSemaphorePermit,
}

/// Connections as they are ready for their first request.
pub(super) fn accepted(
    listener: TcpListener,
    tls: Option<Server>,
    tasks: Tasks,
) -> impl Streams<Item = io::Result<Peer>> {
    bounded(listener, tls, tasks, Arc::new(Semaphore::new(CONNECTIONS)))
}

fn bounded(
    listener: TcpListener,
    tls: Option<Server>,
    tasks: Tasks,
    places: Arc<Semaphore>,
) -> impl Streams<Item = io::Result<Peer>> {
    let (ready, served) = mpsc::channel(1);
    let connections = tasks.clone();
    tasks.spawn("grpc-accept", |stop| async move {
        tokio::select! {
            () = accept(listener, tls, ready, (connections, places)) => {}
            () = stop.cancelled() => {}
        }
    });
    ReceiverStream::new(served)
}

async fn accept(
    listener: TcpListener,
    tls: Option<Server>,
    ready: mpsc::Sender<io::Result<Peer>>,
    (tasks, places): (Tasks, Arc<Semaphore>),
) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, address)) => {
                let (tls, ready) = (tls.clone(), ready.clone());
                tasks.spawn("grpc-handshake", |stop| async move {
                    let shaken = stop.run_until_cancelled(shake(stream, address, tls));
                    if let Some(Some(stream)) = shaken.await {
                        let peer = Peer {
                            stream,
                            _place: place,
                        };
                        // Nobody takes it: we are stopping.
                        ready.send(Ok(peer)).await.ok();
                    }
                });
            }
            Err(error) => {
                warn!(%error, "gRPC over TCP cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn shake(stream: TcpStream, address: SocketAddr, tls: Option<Server>) -> Option<Stream> {
    // A socket that is gone already says so again when it is read.
    stream.set_nodelay(true).ok();
    match tls {
        Some(tls) => tls.welcome("node", address, stream).await,
        None => Some(plain(stream)),
    }
}

impl Connected for Peer {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    #[tokio::test]
    async fn a_place_is_held_as_long_as_its_connection_and_the_next_one_waits_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, places) = (Tasks::default(), Arc::new(Semaphore::new(2)));
        let peers = bounded(listener, None, tasks, Arc::clone(&places));
        tokio::pin!(peers);
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        let first = peers.next().await.unwrap().unwrap();
        let _second = peers.next().await.unwrap().unwrap();
        assert_eq!(places.available_permits(), 0, "the third is not accepted");
        drop(first);
        let _third = peers.next().await.unwrap().unwrap();
        assert_eq!(places.available_permits(), 0);
    }
}
