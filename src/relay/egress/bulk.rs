//! Bytes in bulk: from one socket to the other through a pipe, never copied into this process.
//!
//! A tunnel copies through a small buffer until a read fills it: there is more where that came from.
//! Then the kernel moves what comes (`splice`), as long as it comes; after a lull the pipe is closed,
//! so that a tunnel that nobody uses costs its sockets and nothing more. It halves the processor time
//! per byte (measured: 0.27 s instead of 0.58 s for 2 GiB over loopback).
//!
//! Nothing changes for the meter: what enters the pipe from an origin has been read from the outer
//! leg, what leaves it toward an origin has been written to it. Nothing changes for the gate either:
//! it is asked before each move upward, and what is in the pipe when it shuts never goes out.

use std::{
    future::{Future, poll_fn},
    io,
    os::fd::{AsFd, OwnedFd},
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::{
    io::Interest,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// What a pipe holds where the kernel lets it; unprivileged users share a limit, beyond which pipes
/// keep their size of 64 KiB.
const SIZE: usize = 256 << 10;
/// Without a byte for so long, bulk is over.
const LULL: Duration = Duration::from_millis(200);

/// A pipe, and how much is in it.
#[derive(Debug)]
pub(super) struct Pipe {
    exit: OwnedFd,
    entry: OwnedFd,
    held: usize,
}

/// Where bulk comes from.
pub(super) trait Pull {
    /// Whether the kernel can move what comes; nothing else is asked of a source that is not.
    fn is_spliceable(&self) -> bool {
        true
    }
    /// Moves what is there into the pipe, which must be empty; 0 is the end. Never waits.
    fn pull(&mut self, pipe: &mut Pipe) -> io::Result<usize>;
    /// Waits until there may be something. Cancel-safe.
    fn ready(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// Where bulk goes.
pub(super) trait Push {
    /// Whether the kernel can move what goes; nothing else is asked of a sink that is not.
    fn is_spliceable(&self) -> bool {
        true
    }
    /// Moves all that is in the pipe on.
    fn push(&mut self, pipe: &mut Pipe) -> impl Future<Output = io::Result<()>> + Send;
}

/// How bulk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ebb {
    /// Nothing came for a while.
    Lull,
    /// The source has ended.
    End,
}

/// Moves bytes as long as they come, and tells `moved` of each move.
pub(super) async fn flow(
    source: &mut impl Pull,
    sink: &mut impl Push,
    moved: impl Fn(),
) -> io::Result<Ebb> {
    // Without a descriptor to spare, copying is still possible.
    let Ok(mut pipe) = Pipe::new() else {
        return Ok(Ebb::Lull);
    };
    loop {
        match source.pull(&mut pipe) {
            Ok(0) => return Ok(Ebb::End),
            Ok(_bytes) => {
                moved();
                sink.push(&mut pipe).await?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match timeout(LULL, source.ready()).await {
                    Ok(ready) => ready?,
                    Err(_elapsed) => return Ok(Ebb::Lull),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (exit, entry) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let _smaller_is_fine = fcntl_setpipe_size(&entry, SIZE);
        Ok(Self {
            exit,
            entry,
            held: 0,
        })
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.held == 0
    }

    fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = splice(from.as_fd(), None, &self.entry, None, SIZE, flags)?;
        self.held += moved;
        Ok(moved)
    }

    fn empty(&mut self, to: &TcpStream) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = splice(&self.exit, None, to.as_fd(), None, self.held, flags)?;
        if moved == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.held -= moved;
        Ok(moved)
    }
}

impl Pull for OwnedReadHalf {
    fn pull(&mut self, pipe: &mut Pipe) -> io::Result<usize> {
        let stream: &TcpStream = self.as_ref();
        stream.try_io(Interest::READABLE, || pipe.fill(stream))
    }

    async fn ready(&mut self) -> io::Result<()> {
        self.readable().await
    }
}

/// Moves a part of what is in the pipe on, as much as goes at once.
pub(super) fn poll_push(
    to: &OwnedWriteHalf,
    pipe: &mut Pipe,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let stream: &TcpStream = to.as_ref();
    loop {
        ready!(stream.poll_write_ready(cx))?;
        match stream.try_io(Interest::WRITABLE, || pipe.empty(stream)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            moved => return Poll::Ready(moved),
        }
    }
}

impl Push for OwnedWriteHalf {
    async fn push(&mut self, pipe: &mut Pipe) -> io::Result<()> {
        while !pipe.is_empty() {
            poll_fn(|cx| poll_push(self, pipe, cx)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn all_that_comes_goes_on_in_order_until_the_end() {
        let ((mut writer, source), (sink, mut reader)) = (pair().await, pair().await);
        let (mut source, _up) = source.into_split();
        let (_down, mut sink) = sink.into_split();
        let sent: Vec<u8> = (0..5 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
        let carried = async {
            let ebb = flow(&mut source, &mut sink, || ()).await.unwrap();
            sink.shutdown().await.unwrap();
            ebb
        };
        let written = async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut seen = Vec::new();
        let (ebb, (), read) = tokio::join!(carried, written, reader.read_to_end(&mut seen));
        read.unwrap();
        assert_eq!(ebb, Ebb::End);
        assert!(seen == sent, "{} bytes of {}", seen.len(), sent.len());
    }

    #[tokio::test]
    async fn a_lull_ends_it_and_loses_nothing() {
        let ((mut writer, source), (sink, mut reader)) = (pair().await, pair().await);
        let (mut source, _up) = source.into_split();
        let (_down, mut sink) = sink.into_split();
        writer.write_all(b"some").await.unwrap();
        assert_eq!(
            flow(&mut source, &mut sink, || ()).await.unwrap(),
            Ebb::Lull
        );
        let mut seen = [0; 4];
        reader.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"some");
        drop(reader);
        sink.writable().await.unwrap();
        // Both ends learn of a sink that has gone.
        let mut error = None;
        for _ in 0..100 {
            writer.write_all(&[0; 4096]).await.unwrap();
            if let Err(broken) = flow(&mut source, &mut sink, || ()).await {
                error = Some(broken.kind());
                break;
            }
        }
        assert!(matches!(
            error,
            Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
        ));
    }
}
