//! One connection of the browser: request after request, until a tunnel or the end.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use super::{
    head::{Request, Target},
    outer::Outer,
    proxy,
    refusal::{Reason, Refusal, last_words},
    shared::Shared,
    socks, socks_words,
    source::{NoHead, Sink, Source},
    tunnel,
};

/// A connection without a request is closed after this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// A head that has begun must be whole after this long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// After the last response the client may still be sending; closing under it would take the
/// response away from it (RFC 9112 section 9.6).
const FAREWELL: Duration = Duration::from_secs(1);

/// The browser's side.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) up: Source<OwnedReadHalf>,
    pub(super) down: OwnedWriteHalf,
}

/// What comes after a request that was served.
#[derive(Debug)]
pub(super) enum Next {
    /// Another one.
    Again,
    /// A proper end.
    Close,
    /// Bytes both ways, to there, until the end.
    Tunnel(Box<Outer>),
}

/// Why a request was not served.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is refused; nothing was answered yet.
    Refused(Refusal),
    /// One side broke: so must the other.
    Broken,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // In a box that goes with the last request: a tunnel needs little and may stand for hours.
    let tunnel = Box::pin(converse(stream, &shared)).await;
    drop(shared);
    if let Some((client, outer)) = tunnel {
        tunnel::carry(client, outer).await;
    }
}

/// Answers request after request, until the end or a tunnel.
async fn converse(stream: TcpStream, shared: &Shared) -> Option<(Client, Outer)> {
    let (read, down) = stream.into_split();
    let mut client = Client {
        up: Source::new(read),
        down,
    };
    if !client.has_begun().await {
        return None;
    }
    if client.up.buffered().first() == Some(&socks_words::VERSION) {
        return socks::serve(client, shared).await;
    }
    let (mut kept, mut carried) = (None, false);
    loop {
        let request = match client.request().await {
            Ok(request) => request,
            Err(NoHead::Gone) => return None,
            Err(NoHead::Refused(refusal)) => {
                shared.note(&refusal, None);
                client.refuse(last_words(carried)).await;
                return None;
            }
        };
        let to = request.target.authority().clone();
        let tunnels = matches!(request.target, Target::Tunnel(_));
        let outcome = if tunnels {
            drop(request);
            tunnel::open(&mut client, shared, &to, tunnel::ESTABLISHED).await
        } else {
            proxy::exchange(&mut client, &mut kept, shared, request).await
        };
        match outcome {
            Ok(Next::Again) => {
                carried = true;
                continue;
            }
            Ok(Next::Tunnel(outer)) => return Some((client, *outer)),
            Ok(Next::Close) => client.close().await,
            Err(Stop::Broken) => client.reset(),
            Err(Stop::Refused(refusal)) if tunnels => {
                shared.note(&refusal, Some(&to));
                client.refuse(&refusal.response()).await;
            }
            Err(Stop::Refused(refusal)) => {
                shared.note(&refusal, Some(&to));
                let would_ask_again = carried || refusal.reason.is_late();
                client.refuse(last_words(would_ask_again)).await;
            }
        }
        return None;
    }
}

impl Client {
    /// Waits for the first byte of something; false when nothing comes.
    async fn has_begun(&mut self) -> bool {
        !self.up.buffered().is_empty()
            || matches!(timeout(IDLE_TIMEOUT, self.up.fill()).await, Ok(Ok(1..)))
    }

    async fn request(&mut self) -> Result<Request, NoHead> {
        if !self.has_begun().await {
            return Err(NoHead::Gone);
        }
        let late = Refusal::new(Reason::HeadTimeout, "an unfinished head");
        let head = timeout(HEAD_TIMEOUT, self.up.head()).await;
        let head = head.map_err(|_elapsed| NoHead::Refused(late))??;
        Request::parse(&head).map_err(NoHead::Refused)
    }

    /// Says `words` of a refusal and ends.
    pub(super) async fn refuse(mut self, words: &[u8]) {
        drop(self.down.put(words).await);
        self.close().await;
    }

    /// Ends properly: says so, and waits a little for the client to hear it.
    pub(super) async fn close(mut self) {
        drop(self.down.finish().await);
        let heard = async {
            while let Ok(1..) = self.up.fill().await {
                self.up.consume(self.up.buffered().len());
            }
        };
        drop(timeout(FAREWELL, heard).await);
    }

    /// Ends properly where both ways have ended: to close is to say so.
    pub(super) fn ended(self) {
        self.down.forget();
    }

    /// Ends improperly: what the client has is not all there was.
    pub(super) fn reset(self) {
        drop(self.down.as_ref().set_zero_linger());
        // Dropped, it would say a proper end first.
        self.down.forget();
    }
}
