//! One connection to an adbd: the task that moves packets once it was greeted.

use std::{future::poll_fn, io, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    AdbError, AdbStream, Banner, Hello, Lost,
    greeting::greet,
    mux::{MAX_STREAMS, Mux},
    packet::{BEFORE_GREETING, HEADER, MAX_PAYLOAD, Packet},
};
use crate::runtime::Tasks;

/// A packet that was begun is finished within this, either way.
const STALLED: Duration = Duration::from_secs(30);
/// What a service may be called: adbd takes no more in its first packet.
const MAX_NAME: usize = BEFORE_GREETING as usize - 1;

/// A greeted connection. Clones share it; it ends when neither they nor any stream of it are left.
#[derive(Debug, Clone)]
pub struct Adb {
    line: Arc<Line>,
}

/// What handles and streams hold together.
#[derive(Debug)]
pub(super) struct Line {
    /// Held to look up or to change an entry, never across a wait.
    pub(super) mux: Mutex<Mux>,
    banner: Banner,
    over: watch::Receiver<bool>,
    _ends: DropGuard,
}

impl Adb {
    /// Greets the adbd behind `stream`; the connection then lives in a task of `tasks`. Cancel-safe: what
    /// is dropped unfinished is closed.
    ///
    /// # Errors
    /// [`AdbError`].
    pub async fn greet<S>(mut stream: S, how: Hello<'_>, tasks: &Tasks) -> Result<Self, AdbError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut read = BytesMut::with_capacity(4096);
        let (payload, banner) = greet(&mut stream, &mut read, how).await?;
        let ends = CancellationToken::new();
        let (end, over) = watch::channel(false);
        let line = Arc::new(Line {
            mux: Mutex::new(Mux::new(payload)),
            banner,
            over,
            _ends: ends.clone().drop_guard(),
        });
        let weak = Arc::downgrade(&line);
        tasks.spawn("adb", |stop| async move {
            let why = tokio::select! {
                why = carry(stream, read, &weak) => why,
                () = stop.cancelled() => Lost::Closed,
                () = ends.cancelled() => Lost::Closed,
            };
            if let Some(line) = weak.upgrade() {
                line.mux.lock().lose(why);
            }
            end.send_replace(true);
        });
        Ok(Self { line })
    }

    /// What the device said of itself.
    #[must_use]
    pub fn banner(&self) -> &Banner {
        &self.line.banner
    }

    /// Asks for a service of the device, such as `localabstract:NAME` or `tcp:PORT`. Cancel-safe.
    ///
    /// # Errors
    /// [`AdbError::Refused`] where there is none; otherwise [`AdbError`].
    pub async fn open(&self, service: &str, limit: Duration) -> Result<AdbStream, AdbError> {
        if service.is_empty() || service.len() > MAX_NAME || service.contains('\0') {
            return Err(AdbError::BadName(service.chars().take(80).collect()));
        }
        let mut name = BytesMut::with_capacity(service.len() + 1);
        name.extend_from_slice(service.as_bytes());
        name.extend_from_slice(&[0]);
        let opened = {
            let mut mux = self.line.mux.lock();
            if let Some(lost) = mux.lost() {
                return Err(lost.clone().into());
            }
            mux.open(name.freeze())
        };
        let id = opened.ok_or(AdbError::TooMany(MAX_STREAMS))?;
        // From here on whoever gives up forgets the stream.
        let stream = AdbStream::new(Arc::clone(&self.line), id);
        let agreed = poll_fn(|cx| self.line.mux.lock().poll_opened(id, cx));
        match timeout(limit, agreed).await {
            Ok(Ok(true)) => Ok(stream),
            Ok(Ok(false)) => Err(AdbError::Refused(service.to_owned())),
            Ok(Err(lost)) => Err(lost.into()),
            Err(_elapsed) => Err(AdbError::Silent {
                what: service.to_owned(),
                limit,
            }),
        }
    }

    /// Whether both are the same connection.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.line, &other.line)
    }

    /// Returns once the connection carries nothing any more: why. Cancel-safe.
    pub async fn lost(&self) -> Lost {
        let mut over = self.line.over.clone();
        drop(over.wait_for(|over| *over).await);
        self.is_lost().unwrap_or(Lost::Closed)
    }

    /// Why the connection carries nothing any more, if so.
    #[must_use]
    pub fn is_lost(&self) -> Option<Lost> {
        self.line.mux.lock().lost().cloned()
    }

    /// How many streams are open on it.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.line.mux.lock().len()
    }
}

/// Moves packets both ways until nothing goes any more.
async fn carry<S>(stream: S, mut read: BytesMut, line: &std::sync::Weak<Line>) -> Lost
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (mut from, mut to) = tokio::io::split(stream);
    let receiving = async {
        loop {
            let room = poll_fn(|cx| match line.upgrade() {
                Some(line) => line.mux.lock().poll_room(cx),
                None => std::task::Poll::Ready(()),
            });
            room.await;
            let packet = match next(&mut from, &mut read, MAX_PAYLOAD).await {
                Ok(packet) => packet,
                Err(lost) => return lost,
            };
            let Some(line) = line.upgrade() else {
                return Lost::Closed;
            };
            if let Err(malformed) = line.mux.lock().receive(packet) {
                return malformed.into();
            }
        }
    };
    let sending = async {
        loop {
            let packet = poll_fn(|cx| match line.upgrade() {
                Some(line) => line.mux.lock().poll_send(cx).map(Some),
                None => std::task::Poll::Ready(None),
            });
            let Some(packet) = packet.await else {
                return Lost::Closed;
            };
            if let Err(lost) = write(&mut to, packet, false).await {
                return lost;
            }
        }
    };
    tokio::select! {
        why = receiving => why,
        why = sending => why,
    }
}

/// The next packet; one that was begun must be finished.
pub(super) async fn next(
    from: &mut (impl AsyncRead + Unpin),
    read: &mut BytesMut,
    allowed: u32,
) -> Result<Packet, Lost> {
    loop {
        if let Some(packet) = Packet::take(read, allowed)? {
            return Ok(packet);
        }
        let got = if read.is_empty() {
            from.read_buf(read).await
        } else {
            timeout(STALLED, from.read_buf(read))
                .await
                .map_err(|_elapsed| Lost::Stalled(STALLED))?
        };
        match got {
            Ok(0) => return Err(Lost::HungUp),
            Ok(_) => {}
            Err(error) => return Err(broken(&error)),
        }
    }
}

pub(super) async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    packet: Packet,
    summed: bool,
) -> Result<(), Lost> {
    let header: [u8; HEADER] = packet.header(summed);
    let mut bytes = Buf::chain(&header[..], packet.payload);
    match timeout(STALLED, to.write_all_buf(&mut bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(broken(&error)),
        Err(_elapsed) => Err(Lost::Stalled(STALLED)),
    }
}

fn broken(error: &io::Error) -> Lost {
    let kind = error.kind();
    if matches!(
        kind,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    ) {
        Lost::HungUp
    } else {
        Lost::Broken(kind)
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
