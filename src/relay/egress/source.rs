//! One direction of a connection: a source with its buffer, a sink, and bytes from one to the
//! other.
//!
//! A buffer is bounded, and it exists only while there is something in it: a tunnel that nobody
//! uses costs its sockets and nothing more.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::Poll,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio_util::io::poll_read_buf;

use super::{
    bulk::{Pull, Push},
    chunked::Chunked,
    framing::Framing,
    head::{HeadEnd, MAX_HEAD},
    refusal::{Malformed, Reason, Refusal},
};
use crate::runtime::read_some;

/// What one read takes at most.
pub(super) const CHUNK: usize = 32 << 10;
/// A read into less than this is not worth its system call.
const WORTHWHILE: usize = 4 << 10;

/// Where bytes come from.
#[derive(Debug)]
pub(super) struct Source<R> {
    io: R,
    buffer: BytesMut,
}

/// Why there is no head.
#[derive(Debug)]
pub(super) enum NoHead {
    /// Nothing came, or the connection broke.
    Gone,
    /// Something came that is no head.
    Refused(Refusal),
}

impl<R: AsyncRead + Unpin> Source<R> {
    pub(super) fn new(io: R) -> Self {
        Self {
            io,
            buffer: BytesMut::new(),
        }
    }

    /// What was read and not yet used.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
    }

    /// Holds no more than what was read and not yet used: nobody reads here for a while.
    fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Reads once; 0 is the end. Cancel-safe.
    pub(super) async fn fill(&mut self) -> io::Result<usize> {
        read_some(&mut self.io, &mut self.buffer, (WORTHWHILE, CHUNK)).await
    }

    /// Reads one head, as far as its empty line. Cancel-safe: what was read stays in the buffer.
    pub(super) async fn head(&mut self) -> Result<Bytes, NoHead> {
        let mut end = HeadEnd::default();
        loop {
            let found = end.find(&self.buffer);
            if let Some(length) = found.map_err(|what| NoHead::Refused(what.into()))? {
                return Ok(self.buffer.split_to(length).freeze());
            }
            if self.buffer.len() >= MAX_HEAD {
                let refusal = Refusal::new(Reason::HeadTooLarge, "an endless head");
                return Err(NoHead::Refused(refusal));
            }
            match self.fill().await {
                Ok(0) | Err(_) => return Err(NoHead::Gone),
                Ok(_) => {}
            }
        }
    }

    /// Takes what `read` takes of what has come, once that is enough for it; `None` where nothing more
    /// comes. Cancel-safe as the rest.
    pub(super) async fn words<T, E>(
        &mut self,
        read: impl Fn(&[u8]) -> Result<Option<(T, usize)>, E>,
    ) -> Result<Option<T>, E> {
        loop {
            if let Some((words, length)) = read(&self.buffer)? {
                self.buffer.advance(length);
                return Ok(Some(words));
            }
            match self.fill().await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
    }

    /// Takes as many bytes. Cancel-safe: what was read stays in the buffer.
    pub(super) async fn several(&mut self, bytes: usize) -> Result<Bytes, NoHead> {
        while self.buffer.len() < bytes {
            match self.fill().await {
                Ok(0) | Err(_) => return Err(NoHead::Gone),
                Ok(_) => {}
            }
        }
        Ok(self.buffer.split_to(bytes).freeze())
    }

    /// The same, where their number is known beforehand.
    pub(super) async fn exactly<const N: usize>(&mut self) -> Result<[u8; N], NoHead> {
        let bytes = self.several(N).await?;
        let mut exactly = [0; N];
        exactly.copy_from_slice(&bytes);
        Ok(exactly)
    }

    /// Whether an idle connection is still what it was: open, and silent.
    pub(super) async fn is_quiet(&mut self) -> bool {
        if !self.buffer.is_empty() {
            return false;
        }
        self.buffer.reserve(1);
        let silent = poll_fn(|cx| {
            let read = poll_read_buf(Pin::new(&mut self.io), cx, &mut self.buffer);
            Poll::Ready(read.is_pending())
        });
        silent.await
    }
}

impl<R> Source<R> {
    pub(super) fn into_inner(self) -> R {
        self.io
    }
}

impl<R: Pull> Source<R> {
    /// Whether bytes can move from here without being seen.
    pub(super) fn is_spliceable(&self) -> bool {
        self.io.is_spliceable()
    }

    /// For bulk: what was read has been used, and its buffer goes.
    pub(super) fn emptied(&mut self) -> &mut R {
        self.buffer = BytesMut::new();
        &mut self.io
    }
}

/// Where bytes go.
pub(super) trait Sink: Push + Send {
    /// Writes all of them.
    fn put(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    /// Says that no more will come.
    fn finish(&mut self) -> impl Future<Output = io::Result<()>> + Send;
    /// Whether to close it says the same, once nothing comes from there any more.
    fn ends_by_closing(&self) -> bool {
        true
    }
}

impl Sink for OwnedWriteHalf {
    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.shutdown().await
    }
}

/// How far into a message's body a stream is.
#[derive(Debug)]
pub(super) enum Body {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// Why a body did not arrive whole.
#[derive(Debug)]
pub(super) enum Interrupted {
    /// The source broke.
    Source,
    /// The source ended too early.
    Truncated,
    /// The source sent what is no body.
    Malformed(Malformed),
    /// The sink broke.
    Sink,
}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_done(),
            Self::UntilClose => false,
        }
    }

    /// How many of these bytes belong to the body.
    fn admit(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Self::Length(left) => {
                let here = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= here as u64;
                Ok(here)
            }
            Self::Chunked(chunked) => chunked.admit(bytes),
            Self::UntilClose => Ok(bytes.len()),
        }
    }

    /// Carries the body over, unchanged; what follows it stays in the source.
    pub(super) async fn carry<R: AsyncRead + Unpin>(
        mut self,
        source: &mut Source<R>,
        sink: &mut impl Sink,
    ) -> Result<(), Interrupted> {
        while !self.is_done() {
            if source.buffered().is_empty() {
                match (source.fill().await, &self) {
                    (Ok(0), Self::UntilClose) => return Ok(()),
                    (Ok(0), _) => return Err(Interrupted::Truncated),
                    (Ok(_), _) => {}
                    (Err(_), _) => return Err(Interrupted::Source),
                }
            }
            let here = self
                .admit(source.buffered())
                .map_err(Interrupted::Malformed)?;
            let carried = sink.put(&source.buffered()[..here]).await;
            carried.map_err(|_broken| Interrupted::Sink)?;
            source.consume(here);
        }
        source.rest();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_connection_that_is_kept_holds_nothing_of_the_body_that_it_carried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        let ((_near, mut sink), _far) = (near.unwrap().into_split(), far.unwrap());
        let mut source = Source::new(&[7; CHUNK][..]);
        let body = Body::new(Framing::Length(CHUNK as u64));
        body.carry(&mut source, &mut sink).await.unwrap();
        assert_eq!(source.buffer.capacity(), 0);
    }
}
