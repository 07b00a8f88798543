//! A connection to DevTools by either way, the same to whoever uses it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::adb::{self, AdbStream};

/// Both directions.
#[derive(Debug)]
pub enum Stream {
    /// Of a browser in a container.
    Direct(TcpStream),
    /// Of a browser on a device.
    Bridged(AdbStream),
}

/// From the browser.
#[derive(Debug)]
pub enum ReadHalf {
    /// Of a browser in a container.
    Direct(OwnedReadHalf),
    /// Of a browser on a device.
    Bridged(adb::ReadHalf),
}

/// To the browser.
#[derive(Debug)]
pub enum WriteHalf {
    /// Of a browser in a container.
    Direct(OwnedWriteHalf),
    /// Of a browser on a device.
    Bridged(adb::WriteHalf),
}

impl Stream {
    /// Both directions, to be used side by side.
    #[must_use]
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Direct(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Direct(read), WriteHalf::Direct(write))
            }
            Self::Bridged(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Bridged(read), WriteHalf::Bridged(write))
            }
        }
    }
}

macro_rules! reads {
    ($($kind:ty),*) => {$(
        impl AsyncRead for $kind {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Direct(stream) => Pin::new(stream).poll_read(cx, buf),
                    Self::Bridged(stream) => Pin::new(stream).poll_read(cx, buf),
                }
            }
        }
    )*};
}

macro_rules! writes {
    ($($kind:ty),*) => {$(
        impl AsyncWrite for $kind {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::Direct(stream) => Pin::new(stream).poll_write(cx, buf),
                    Self::Bridged(stream) => Pin::new(stream).poll_write(cx, buf),
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    Self::Direct(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
                    Self::Bridged(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    Self::Direct(stream) => stream.is_write_vectored(),
                    Self::Bridged(stream) => stream.is_write_vectored(),
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Direct(stream) => Pin::new(stream).poll_flush(cx),
                    Self::Bridged(stream) => Pin::new(stream).poll_flush(cx),
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    Self::Direct(stream) => Pin::new(stream).poll_shutdown(cx),
                    Self::Bridged(stream) => Pin::new(stream).poll_shutdown(cx),
                }
            }
        }
    )*};
}

reads!(Stream, ReadHalf);
writes!(Stream, WriteHalf);
