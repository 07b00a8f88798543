//! A service of the device as a pair of directions.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Line;

/// Both directions of one service. ADB knows no half-closing: a shutdown waits until the device has taken
/// what was written, and then closes both; what has come by then can still be read.
#[derive(Debug)]
pub struct AdbStream {
    read: ReadHalf,
    write: WriteHalf,
}

/// What comes from the device.
#[derive(Debug)]
pub struct ReadHalf {
    end: Arc<End>,
    /// The packet that is being read; it has been acknowledged.
    packet: Bytes,
}

/// What goes to the device. What is written is on its way; flushing has nothing to add.
#[derive(Debug)]
pub struct WriteHalf {
    end: Arc<End>,
}

/// Closes the stream once neither half is left.
#[derive(Debug)]
struct End {
    line: Arc<Line>,
    id: u32,
}

impl Drop for End {
    fn drop(&mut self) {
        self.line.mux.lock().forget(self.id);
    }
}

impl AdbStream {
    pub(super) fn new(line: Arc<Line>, id: u32) -> Self {
        let end = Arc::new(End { line, id });
        Self {
            read: ReadHalf {
                end: Arc::clone(&end),
                packet: Bytes::new(),
            },
            write: WriteHalf { end },
        }
    }

    /// Both directions, to be used side by side; the stream is closed when both are dropped.
    #[must_use]
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        (self.read, self.write)
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.packet.is_empty() {
            let End { line, id } = &*this.end;
            let next = ready!(line.mux.lock().poll_read(*id, cx))?;
            match next {
                Some(packet) => this.packet = packet,
                None => return Poll::Ready(Ok(())),
            }
        }
        let some = this.packet.len().min(buf.remaining());
        buf.put_slice(&this.packet[..some]);
        this.packet.advance(some);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let End { line, id } = &*self.end;
        line.mux.lock().poll_write(*id, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let End { line, id } = &*self.end;
        let mut mux = line.mux.lock();
        // Whatever cannot be taken any more need not be.
        let _taken = ready!(mux.poll_credit(*id, cx));
        mux.finish(*id);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for AdbStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().read).poll_read(cx, buf)
    }
}

impl AsyncWrite for AdbStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().write).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().write).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().write).poll_shutdown(cx)
    }
}
