//! The least that a relay can do: two threads that each read from one socket and write to the other.
//!
//! It reads nothing of what it copies, and beside a thing of ours on the same cores in the same run it
//! shows how much of a difference to a direct connection is the second crossing of the kernel's.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
};

use tokio::net::{self, TcpListener};

/// Room for one read.
const READ: usize = 256 << 10;

/// A connection to `to` with a copier in between; its threads end with either side.
///
/// # Errors
/// When loopback has no port, or the host no thread.
pub(super) async fn before(to: net::TcpStream) -> io::Result<net::TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let connecting = net::TcpStream::connect(listener.local_addr()?);
    let (client, (near, _)) = tokio::try_join!(connecting, listener.accept())?;
    client.set_nodelay(true)?;
    let (near, far) = (near.into_std()?, to.into_std()?);
    for socket in [&near, &far] {
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
    }
    let ways = [(near.try_clone()?, far.try_clone()?), (far, near)];
    for (from, to) in ways {
        let thread = thread::Builder::new().name("copier".to_owned());
        thread.spawn(move || copy(from, to))?;
    }
    Ok(client)
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut room = vec![0; READ];
    while let Ok(read @ 1..) = from.read(&mut room) {
        if to.write_all(&room[..read]).is_err() {
            break;
        }
    }
    for socket in [from, to] {
        // The other thread waits on it; gone already is as good.
        drop(socket.shutdown(Shutdown::Both));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_end_of_one_side_is_the_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = net::TcpStream::connect(listener.local_addr().unwrap());
        let (to, peer) = tokio::join!(to, listener.accept());
        let (mut peer, _) = peer.unwrap();
        let mut client = before(to.unwrap()).await.unwrap();
        client.write_all(b"there").await.unwrap();
        let mut five = [0; 5];
        peer.read_exact(&mut five).await.unwrap();
        assert_eq!(&five, b"there");
        peer.write_all(b"back").await.unwrap();
        drop(peer);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"back");
    }
}
