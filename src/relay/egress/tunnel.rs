//! Bytes both ways, each way ending for itself.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use tokio::{io::AsyncRead, sync::Notify, time::sleep};

use super::{
    authority::Authority,
    bulk::{self, Ebb, Pull},
    conn::{Client, Next, Stop},
    outer::Outer,
    shared::Shared,
    source::{CHUNK, Sink, Source},
};
use crate::model::Form;

/// Once one way has ended, the other may be silent for this long, and for twice as long at most. A browser that closed its end
/// looks like one that only finished sending, and its origin may never say anything again.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(300);
/// What a `CONNECT` is answered.
pub(super) const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Makes the tunnel that was asked for, and tells the client `words` once it stands.
pub(super) async fn open(
    client: &mut Client,
    shared: &Shared,
    to: &Authority,
    words: &[u8],
) -> Result<Next, Stop> {
    shared.admit()?;
    let link = shared.dial(to, Form::Tunnel).await?;
    let told = client.down.put(words).await;
    told.map_err(|_gone| Stop::Broken)?;
    Ok(Next::Tunnel(Box::new(link.outer)))
}

/// Carries bytes both ways until both have ended, or one has broken: so does the other then.
pub(super) async fn carry(mut client: Client, mut outer: Outer) {
    let progress = Progress::default();
    let both = async {
        let up = one_way(&mut client.up, &mut outer.up, &progress);
        let down = one_way(&mut outer.down, &mut client.down, &progress);
        tokio::try_join!(up, down)
    };
    let both = tokio::select! {
        both = both => both.is_ok(),
        () = progress.fallen_silent() => false,
    };
    if !both {
        outer.reset();
        return client.reset();
    }
    outer.ended();
    client.ended();
}

/// What the ways of a tunnel tell of themselves.
#[derive(Debug, Default)]
struct Progress {
    one_ended: Notify,
    has_one_ended: AtomicBool,
    /// Moves so far, of either way.
    moves: AtomicU64,
}

impl Progress {
    fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// A way has ended; whether it is the last.
    fn ended(&self) -> bool {
        self.one_ended.notify_one();
        self.has_one_ended.swap(true, Ordering::Relaxed)
    }

    /// Once one way has ended and nothing has moved on the other for long.
    async fn fallen_silent(&self) {
        self.one_ended.notified().await;
        let mut before = None;
        loop {
            let now = self.moves.load(Ordering::Relaxed);
            if before.replace(now) == Some(now) {
                return;
            }
            sleep(HALF_CLOSED_IDLE).await;
        }
    }
}

async fn one_way<R: AsyncRead + Pull + Unpin>(
    source: &mut Source<R>,
    sink: &mut impl Sink,
    progress: &Progress,
) -> io::Result<()> {
    loop {
        if !source.buffered().is_empty() {
            sink.put(source.buffered()).await?;
            source.consume(source.buffered().len());
        }
        let read = source.fill().await?;
        if read == 0 {
            break;
        }
        progress.moved();
        if read < CHUNK || !source.is_spliceable() || !sink.is_spliceable() {
            continue;
        }
        sink.put(source.buffered()).await?;
        // In a box: it is brief, and every idle tunnel would carry the room for it.
        let flow = Box::pin(bulk::flow(source.emptied(), sink, || progress.moved()));
        if flow.await? == Ebb::End {
            break;
        }
    }
    // What ends last is closed at once.
    if progress.ended() && sink.ends_by_closing() {
        return Ok(());
    }
    sink.finish().await
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_falls_silent_only_half_closed_and_only_without_a_move() {
        let progress = Progress::default();
        let mut silent = std::pin::pin!(progress.fallen_silent());
        let day = Duration::from_secs(86_400);
        assert!(timeout(day, &mut silent).await.is_err(), "both ways live");
        assert!(!progress.ended());
        for _ in 0..10 {
            progress.moved();
            let spell = timeout(HALF_CLOSED_IDLE / 2, &mut silent).await;
            assert!(spell.is_err(), "something moved");
        }
        let began = Instant::now();
        silent.await;
        assert!(began.elapsed() <= HALF_CLOSED_IDLE * 2);
    }
}
