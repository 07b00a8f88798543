//! Reading where most connections are silent most of the time.

use std::{future::poll_fn, io, pin::Pin};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// Reads once; 0 is the end. A read into less than `least` bytes is not worth its system call: `room` for so
/// many is made then. Nothing is held while nothing comes, unless something is in the buffer already.
/// Cancel-safe.
///
/// # Errors
/// Of `io`.
pub async fn read_some(
    io: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    (least, room): (usize, usize),
) -> io::Result<usize> {
    poll_fn(|cx| {
        if buffer.capacity() - buffer.len() < least {
            buffer.reserve(room);
        }
        let read = poll_read_buf(Pin::new(&mut *io), cx, buffer);
        if read.is_pending() && buffer.is_empty() {
            *buffer = BytesMut::new();
        }
        read
    })
    .await
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
