//! A connection to DevTools by either way, the same to whoever uses it.

use tokio::net::{
    TcpStream,
    tcp::{OwnedReadHalf, OwnedWriteHalf},
};
use tokio_util::either::Either;

use crate::adb::{self, AdbStream};

/// Both directions: of a browser in a container on the left, of one on a device on the right.
pub(crate) type Stream = Either<TcpStream, AdbStream>;

/// From the browser.
pub(crate) type ReadHalf = Either<OwnedReadHalf, adb::ReadHalf>;

/// To the browser.
pub(crate) type WriteHalf = Either<OwnedWriteHalf, adb::WriteHalf>;

/// Both directions, to be used side by side.
#[must_use]
pub(crate) fn split(stream: Stream) -> (ReadHalf, WriteHalf) {
    match stream {
        Either::Left(stream) => {
            let (read, write) = stream.into_split();
            (Either::Left(read), Either::Left(write))
        }
        Either::Right(stream) => {
            let (read, write) = stream.into_split();
            (Either::Right(read), Either::Right(write))
        }
    }
}
