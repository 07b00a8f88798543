//! One attached client, from its first frame to its last.
//!
//! Two directions run side by side until the first of: the session is over, the client leaves or
//! breaks the rules, the browser is gone, the relay stops. What is said then is a close frame at the
//! next frame boundary within a second; where there is none, or the client does not read, the
//! connection ends without one.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    down::{Close, Down, DownEnd},
    methods::Phone,
    own::Own,
    up::{Up, UpEnd},
};
use crate::{
    model::{EndReason, SessionId},
    relay::{ClientGuard, Live, SessionView, devtools},
    tls::{self, ReadHalf, Stream, WriteHalf},
};

/// Our own answers that wait for their turn; a client that has so many unread must read first.
const ANSWERS: usize = 64;
/// How long the last word may take to get out, and then the client's to come in.
const LAST_WORD: Duration = Duration::from_secs(1);
/// When the browser is gone, its session's end may be on the way: how long it is waited for.
const END_ON_ITS_WAY: Duration = Duration::from_millis(300);
/// How long the browser may take to notice that a client has left.
const BROWSER_NOTICES: Duration = Duration::from_millis(500);

/// An attached client and its own connection to the browser.
pub(super) struct Client {
    pub(super) stream: Stream,
    /// What came from the client with its handshake.
    pub(super) read: BytesMut,
    pub(super) browser: devtools::Stream,
    pub(super) browser_read: BytesMut,
    pub(super) live: Arc<Live>,
    pub(super) view: watch::Receiver<SessionView>,
    pub(super) max_message: u64,
}

/// What ended it.
enum End {
    Up(UpEnd),
    Down(DownEnd),
    Over(EndReason),
    Stopping,
}

impl Client {
    /// Serves the client until its end, and then lets go of `guard`.
    pub(super) async fn serve(self, guard: ClientGuard, stop: CancellationToken) {
        let Self {
            stream,
            read,
            browser,
            browser_read,
            live,
            mut view,
            max_message,
        } = self;
        let (mut from_client, to_client) = tls::split(stream);
        let (mut from_browser, mut to_browser) = devtools::split(browser);
        let (answers, queue) = mpsc::channel(ANSWERS);
        let profile = live.supervisor.profile();
        let overrides = || live.supervisor.overrides();
        let own = Own::new(&live.supervisor);
        let up = Up {
            client: &mut from_client,
            browser: &mut to_browser,
            read,
            answers,
            meter: &live.meter,
            phone: Phone {
                profile: &profile,
                user_agent: &live.supervisor.browser().user_agent,
                overrides: &overrides,
                device: live.supervisor.device(),
            },
            own: &own,
            max_message,
        };
        let mut down = Down::new(
            &mut from_browser,
            to_client,
            browser_read,
            queue,
            &own,
            &live,
        );
        let said = converse(up, &mut down, &mut view, stop).await;
        let to_client = down.into_client();
        // The overrides that this client set go with its connection: only then is it gone.
        if !part(&mut from_browser, to_browser).await {
            debug!(session = %live.session, "the browser did not close its side");
        }
        drop(own);
        live.supervisor.assert_again();
        drop(guard);
        if said && !linger(&mut from_client, to_client).await {
            debug!(session = %live.session, "the client did not close its side");
        }
    }
}

/// Runs both directions to their end; whether a close frame was the last thing sent.
async fn converse(
    up: Up<'_>,
    down: &mut Down<'_>,
    view: &mut watch::Receiver<SessionView>,
    stop: CancellationToken,
) -> bool {
    let (closing, close) = watch::channel(None);
    let session = down.session();
    let last_word = {
        // Dropped unfinished, it may leave half a frame behind: after that nothing can be said.
        let mut running = pin!(down.run(close));
        let end = tokio::select! {
            biased;
            reason = over(view) => reason.map_or(End::Stopping, End::Over),
            end = up.run() => End::Up(end),
            end = running.as_mut() => End::Down(end),
            () = stop.cancelled() => End::Stopping,
        };
        let Some(last_word) = last_word(&end, view, session).await else {
            return false;
        };
        if !matches!(end, End::Down(_)) {
            closing.send_replace(Some(last_word.clone()));
            match timeout(LAST_WORD, running).await {
                Ok(DownEnd::Said) => return true,
                Ok(DownEnd::BrowserGone) => {}
                Ok(DownEnd::ClientGone) | Err(_) => return false,
            }
        }
        last_word
    };
    matches!(timeout(LAST_WORD, down.say(&last_word)).await, Ok(Ok(true)))
}

/// What to say to the client at this end, if anything.
async fn last_word(
    end: &End,
    view: &mut watch::Receiver<SessionView>,
    session: &SessionId,
) -> Option<Close> {
    match end {
        End::Over(reason) => Some(Close::now(reason.close_code(), reason.as_str())),
        End::Stopping => Some(Close::now(1001, "the gateway is stopping")),
        End::Up(UpEnd::BrowserGone) | End::Down(DownEnd::BrowserGone) => {
            let reason = timeout(END_ON_ITS_WAY, over(view)).await.ok().flatten();
            debug!(%session, ?reason, "browser connection lost");
            Some(match reason {
                Some(reason) => Close::now(reason.close_code(), reason.as_str()),
                None => Close::now(1011, "the browser connection was lost"),
            })
        }
        End::Up(end) => end.last_word(),
        End::Down(DownEnd::Said | DownEnd::ClientGone) => None,
    }
}

/// The reason, once the session is over; `None` when nobody will say.
async fn over(view: &mut watch::Receiver<SessionView>) -> Option<EndReason> {
    let ended = |view: &SessionView| match view {
        SessionView::Cutting(reason) => Some(*reason),
        SessionView::Ended(ending) => Some(ending.reason),
        SessionView::Expected { .. } | SessionView::Live(_) => None,
    };
    let view = view.wait_for(|view| ended(view).is_some()).await.ok()?;
    ended(&view)
}

/// Closes the browser's side and waits until the browser has, which is whether it did.
async fn part(from_browser: &mut devtools::ReadHalf, mut to_browser: devtools::WriteHalf) -> bool {
    let noticed = async {
        to_browser.shutdown().await?;
        drain(from_browser).await
    };
    matches!(timeout(BROWSER_NOTICES, noticed).await, Ok(Ok(())))
}

/// After the last word: no more from here, and what still comes is read, or the kernel would answer
/// it with a reset that overtakes the close frame. Whether the client ended it.
async fn linger(from_client: &mut ReadHalf, mut to_client: WriteHalf) -> bool {
    let goodbye = async {
        to_client.shutdown().await?;
        drain(from_client).await
    };
    matches!(timeout(LAST_WORD, goodbye).await, Ok(Ok(())))
}

async fn drain(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<()> {
    // Not in the future itself: every client would carry the room from its start.
    let mut scrap = vec![0; 4096];
    while from.read(&mut scrap).await? > 0 {}
    Ok(())
}
