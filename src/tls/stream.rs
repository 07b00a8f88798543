//! A connection that is plain or encrypted, the same to whoever serves it.

use tokio::{
    io,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

type Encrypted = Box<TlsStream<TcpStream>>;

/// One connection of a client: plain on the left, encrypted on the right.
pub type Stream = Either<TcpStream, Encrypted>;

/// The direction from the client.
pub type ReadHalf = Either<OwnedReadHalf, io::ReadHalf<Encrypted>>;

/// The direction to the client. What is written to an encrypted one is out once it is flushed.
pub type WriteHalf = Either<OwnedWriteHalf, io::WriteHalf<Encrypted>>;

/// A connection as it comes.
#[must_use]
pub const fn plain(stream: TcpStream) -> Stream {
    Either::Left(stream)
}

/// Whether what goes over it is encrypted.
#[must_use]
pub const fn is_encrypted(stream: &Stream) -> bool {
    matches!(stream, Either::Right(_))
}

/// Both directions, to be used side by side.
#[must_use]
pub fn split(stream: Stream) -> (ReadHalf, WriteHalf) {
    match stream {
        Either::Left(stream) => {
            let (read, write) = stream.into_split();
            (Either::Left(read), Either::Left(write))
        }
        Either::Right(stream) => {
            let (read, write) = io::split(stream);
            (Either::Right(read), Either::Right(write))
        }
    }
}
