//! The ground truth of metering: bytes of one TCP connection, counted below TLS.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What one connection carried, as this end saw it.
#[derive(Debug)]
pub struct Books {
    pub peer: SocketAddr,
    /// Read here: what the session sent up.
    pub up: AtomicU64,
    /// Written here: what came down to the session.
    pub down: AtomicU64,
}

pub struct Counted {
    stream: TcpStream,
    books: Arc<Books>,
    ended: bool,
}

impl Counted {
    pub fn new(stream: TcpStream, books: Arc<Books>) -> Self {
        Self {
            stream,
            books,
            ended: false,
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let count = buffer.filled().len() - before;
        self.ended |= count == 0;
        self.books.up.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            // Whoever hung up hears nothing more, a TLS goodbye least of all: nobody would read it,
            // and the two ends would count differently.
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.books.down.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
