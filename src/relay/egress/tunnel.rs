//! Bytes both ways, each way ending for itself.

use std::{io, time::Duration};

use tokio::{io::AsyncRead, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    authority::Authority,
    bulk::{self, Ebb, Pull},
    conn::{Client, Next, Stop},
    outer::Outer,
    shared::Shared,
    source::{CHUNK, Sink, Source},
};
use crate::model::Form;

/// Once one way has ended, the other may be silent for this long. A browser that closed its end
/// looks like one that only finished sending, and its origin may never say anything again.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(300);
/// What a `CONNECT` is answered.
pub(super) const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Serves a request for a tunnel, whose client is told `words` once it stands.
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
    carry(client, link.outer).await
}

/// Carries bytes both ways until both have ended, or one has broken.
pub(super) async fn carry(client: &mut Client, mut outer: Outer) -> Result<Next, Stop> {
    let (up_ended, down_ended) = (CancellationToken::new(), CancellationToken::new());
    let up = one_way(&mut client.up, &mut outer.up, &up_ended, &down_ended);
    let down = one_way(&mut outer.down, &mut client.down, &down_ended, &up_ended);
    let both = tokio::try_join!(up, down);
    if both.is_err() {
        outer.reset();
        return Err(Stop::Broken);
    }
    Ok(Next::Close)
}

async fn one_way<R: AsyncRead + Pull + Unpin>(
    source: &mut Source<R>,
    sink: &mut impl Sink,
    ended: &CancellationToken,
    other_ended: &CancellationToken,
) -> io::Result<()> {
    loop {
        if !source.buffered().is_empty() {
            sink.put(source.buffered()).await?;
            source.consume(source.buffered().len());
        }
        let read = tokio::select! {
            read = source.fill() => read?,
            () = silence_after(other_ended) => return Err(io::ErrorKind::TimedOut.into()),
        };
        if read == 0 {
            break;
        }
        if read < CHUNK || !source.is_spliceable() || !sink.is_spliceable() {
            continue;
        }
        sink.put(source.buffered()).await?;
        if bulk::flow(source.emptied(), sink).await? == Ebb::End {
            break;
        }
    }
    ended.cancel();
    sink.finish().await
}

async fn silence_after(other_ended: &CancellationToken) {
    other_ended.cancelled().await;
    sleep(HALF_CLOSED_IDLE).await;
}
