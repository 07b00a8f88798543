//! Reading where most connections are silent most of the time.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

/// The most that one read takes.
const MOST: usize = 64 << 10;

thread_local! {
    /// Where a read goes that nobody knows the length of. One for each thread: room of its own for every
    /// attempt, of which most find nothing, costs more than to copy what was found.
    static DESK: RefCell<Box<[MaybeUninit<u8>]>> = RefCell::new(Box::new_uninit_slice(MOST));
}

/// Reads once; 0 is the end. A read into less than `least` bytes is not worth its system call: it takes as
/// much as `room` then, 64 KiB at most, and the buffer grows by what came. Nothing is held while nothing
/// comes, unless something is in the buffer already. Cancel-safe.
///
/// # Errors
/// Of `io`.
pub async fn read_some(
    io: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    (least, room): (usize, usize),
) -> io::Result<usize> {
    poll_fn(|cx| {
        let io = Pin::new(&mut *io);
        if buffer.capacity() - buffer.len() >= least && !buffer.is_empty() {
            return poll_read_buf(io, cx, buffer);
        }
        DESK.with_borrow_mut(|desk| {
            let desk = &mut desk[..room.min(MOST)];
            poll_by_way_of(desk, io, cx, buffer)
        })
    })
    .await
}

fn poll_by_way_of(
    desk: &mut [MaybeUninit<u8>],
    io: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    let mut read = ReadBuf::uninit(desk);
    let polled = io.poll_read(cx, &mut read);
    if polled.is_pending() && buffer.is_empty() {
        *buffer = BytesMut::new();
    }
    ready!(polled)?;
    buffer.extend_from_slice(read.filled());
    Poll::Ready(Ok(read.filled().len()))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_silent_stream_holds_no_room_and_loses_nothing() {
        let (mut near, mut far) = duplex(64);
        let mut buffer = BytesMut::new();
        let silent = read_some(&mut near, &mut buffer, (16, 4096)).now_or_never();
        assert!(silent.is_none());
        assert_eq!(buffer.capacity(), 0);
        far.write_all(b"half").await.unwrap();
        let read = read_some(&mut near, &mut buffer, (16, 4096)).await.unwrap();
        assert_eq!((read, &buffer[..]), (4, &b"half"[..]));
        let silent = read_some(&mut near, &mut buffer, (16, 4096)).now_or_never();
        assert!(silent.is_none());
        assert_eq!(&buffer[..], b"half");
        drop(far);
        let end = read_some(&mut near, &mut buffer, (16, 4096)).await;
        assert_eq!(end.unwrap(), 0);
    }
}
