//! The two halves of the outer leg, metered: bare TCP, or TLS to an upstream.
//!
//! The meter sits beneath TLS, where the wire is: what an upstream's TLS costs is counted. Bytes
//! inside it must be seen to be encrypted, so only bare TCP moves in bulk.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{Sleep, sleep},
};
use tokio_rustls::client::TlsStream;

use super::{
    account::Account,
    bulk::{Pipe, Pull, Push, poll_push},
    gate::{self, held},
    ration::Spent,
    source::Sink,
};

/// Counts what passes through, as it passes.
#[derive(Debug)]
pub(super) struct Metered<T> {
    io: T,
    open: Arc<Open>,
    /// Until then nothing more may move this way.
    pause: Option<Pin<Box<Sleep>>>,
}

/// Counts a connection for as long as either half of it lives.
#[derive(Debug)]
struct Open(Account);

/// A connection inside TLS.
pub(super) type Inside = TlsStream<Metered<TcpStream>>;

/// The way down.
#[derive(Debug)]
pub(super) enum Down {
    Bare(Metered<OwnedReadHalf>),
    Inside(ReadHalf<Inside>),
}

/// The way up: writes wait while the gate is shut.
#[derive(Debug)]
pub(super) struct Upward {
    io: Up,
    gate: watch::Receiver<bool>,
}

#[derive(Debug)]
enum Up {
    Bare(Metered<OwnedWriteHalf>),
    Inside(WriteHalf<Inside>),
}

/// Both halves of a connection that was made.
pub(super) fn bare(stream: Metered<TcpStream>, gate: watch::Receiver<bool>) -> (Down, Upward) {
    let Metered { io, open, .. } = stream;
    let (down, up) = io.into_split();
    let down = Metered {
        io: down,
        open: Arc::clone(&open),
        pause: None,
    };
    let io = Up::Bare(Metered {
        io: up,
        open,
        pause: None,
    });
    (Down::Bare(down), Upward { io, gate })
}

/// The same, where TLS has been spoken.
pub(super) fn inside(stream: Inside, gate: watch::Receiver<bool>) -> (Down, Upward) {
    let (down, up) = tokio::io::split(stream);
    let io = Up::Inside(up);
    (Down::Inside(down), Upward { io, gate })
}

/// Ends where both ways have ended: to close is to say so, and to drop would say it before.
pub(super) fn ended(up: Upward) {
    if let Up::Bare(half) = up.io {
        half.io.forget();
    }
}

/// Ends with a reset: the origin shall not take it for a proper end.
pub(super) fn reset(down: Down, up: Upward) {
    match (down, up.io) {
        (_, Up::Bare(half)) => {
            drop(half.io.as_ref().set_zero_linger());
            // Dropped, it would say a proper end first.
            half.io.forget();
        }
        (Down::Inside(down), Up::Inside(up)) => {
            let whole = down.unsplit(up);
            drop(whole.get_ref().0.io.set_zero_linger());
        }
        // Halves of two connections: never made.
        (Down::Bare(_), Up::Inside(_)) => {}
    }
}

impl Metered<TcpStream> {
    pub(super) fn new(io: TcpStream, account: Account) -> Self {
        account.meter.connection_opened();
        Self {
            io,
            open: Arc::new(Open(account)),
            pause: None,
        }
    }
}

impl<T> Metered<T> {
    /// Whether nothing limits it.
    fn is_free(&self) -> bool {
        self.open.0.share.is_none()
    }

    /// Moves no more than the session may move now, by `work`, and counts it.
    fn spend(
        &mut self,
        cx: &mut Context<'_>,
        wish: usize,
        count: fn(&Account, u64),
        mut work: impl FnMut(&mut T, &mut Context<'_>, usize) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let account = &self.open.0;
            let Some(share) = &account.share else {
                return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
            };
            let io = &mut self.io;
            let count = |moved| count(account, moved);
            match share.spend(&account.meter, wish, count, |most| work(io, cx, most)) {
                Spent::Moved(moved) => return moved,
                Spent::Later(wait) => self.pause = Some(Box::pin(sleep(wait))),
                Spent::Over => return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into())),
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.meter.connection_closed();
    }
}

// === impl Upward ===

impl Upward {
    /// Writes what goes without waiting; `None` where it takes a wait.
    async fn put_now(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        if !gate::is_open(&self.gate)? {
            return Ok(None);
        }
        let io = &mut self.io;
        poll_fn(|cx| match Pin::new(&mut *io).poll_write(cx, bytes) {
            Poll::Ready(written) => Poll::Ready(written.map(Some)),
            Poll::Pending => Poll::Ready(Ok(None)),
        })
        .await
    }
}

impl Sink for Upward {
    /// Between any two bytes the gate may shut; what was not written by then waits.
    async fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = match self.put_now(bytes).await? {
                Some(written) => written,
                // In a box: a wait is rare, and every idle tunnel would carry the room for it.
                None => {
                    let io = &mut self.io;
                    let write = |cx: &mut Context<'_>| Pin::new(&mut *io).poll_write(cx, bytes);
                    Box::pin(held(&mut self.gate, write)).await?
                }
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        // TLS may keep the last record back.
        self.io.flush().await
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }

    /// TLS has words for its end.
    fn ends_by_closing(&self) -> bool {
        matches!(&self.io, Up::Bare(_))
    }
}

impl Push for Upward {
    fn is_spliceable(&self) -> bool {
        matches!(&self.io, Up::Bare(half) if half.is_free())
    }

    /// As with [`Sink::put`].
    async fn push(&mut self, pipe: &mut Pipe) -> io::Result<()> {
        let Up::Bare(half) = &self.io else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        while !pipe.is_empty() {
            let moved = held(&mut self.gate, |cx| poll_push(&half.io, pipe, cx)).await?;
            half.open.0.add_up(moved as u64);
        }
        Ok(())
    }
}

// === impl Down ===

impl Pull for Down {
    fn is_spliceable(&self) -> bool {
        matches!(self, Self::Bare(half) if half.is_free())
    }

    fn pull(&mut self, pipe: &mut Pipe) -> io::Result<usize> {
        let Self::Bare(half) = self else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let moved = half.io.pull(pipe)?;
        half.open.0.add_down(moved as u64);
        Ok(moved)
    }

    async fn ready(&mut self) -> io::Result<()> {
        match self {
            Self::Bare(half) => Pull::ready(&mut half.io).await,
            Self::Inside(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

// === bytes ===

impl AsyncRead for Down {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(half) => Pin::new(half).poll_read(cx, buf),
            Self::Inside(half) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Up {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Bare(half) => Pin::new(half).poll_write(cx, buf),
            Self::Inside(half) => Pin::new(half).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(half) => Pin::new(half).poll_flush(cx),
            Self::Inside(half) => Pin::new(half).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(half) => Pin::new(half).poll_shutdown(cx),
            Self::Inside(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_free() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            let read = buf.filled().len() - before;
            this.open.0.add_down(read as u64);
            return Poll::Ready(Ok(()));
        }
        let wish = buf.remaining();
        let read = ready!(this.spend(cx, wish, Account::add_down, |io, cx, most| {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            let polled = Pin::new(io).poll_read(cx, &mut part);
            polled.map_ok(|()| part.filled().len())
        }))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_free() {
            let written = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
            this.open.0.add_up(written as u64);
            return Poll::Ready(Ok(written));
        }
        this.spend(cx, buf.len(), Account::add_up, |io, cx, most| {
            Pin::new(io).poll_write(cx, &buf[..most])
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
