//! The HTTP side of one connection: a few requests, and then perhaps a client.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Gateway,
    client::Client,
    door, inspect,
    refusal::Refusal,
    request::{Asked, Socket, Wanted, websocket_key},
};
use crate::{
    cdp::{self, accept_key},
    relay::{Browser, ClientGuard, Live, SessionView, devtools},
    tls::{Stream, is_encrypted},
};

/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(10);
/// Bytes of head that are read at most.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// How long a connection to the browser may take, waiting for a socket included.
const REACH: Duration = Duration::from_secs(10);
/// When the browser does not answer, its session's end may be on the way: how long it is waited for.
const END_ON_ITS_WAY: Duration = Duration::from_millis(300);

type Place = Arc<super::Place>;

/// Serves one connection until it closes or becomes a client.
pub(super) async fn serve(stream: Stream, place: Place, gateway: Gateway, stop: CancellationToken) {
    let encrypted = is_encrypted(&stream);
    let service = service_fn(|mut request: Request<Incoming>| {
        if encrypted {
            // Whoever stands before us may say otherwise; what came here did so by TLS.
            let headers = request.headers_mut();
            let proto = HeaderName::from_static("x-forwarded-proto");
            headers
                .entry(proto)
                .or_insert(HeaderValue::from_static("https"));
        }
        let (gateway, place) = (gateway.clone(), Arc::clone(&place));
        async move { Ok::<_, Infallible>(answer(request, gateway, place).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            // Whoever is held is told so by the request itself; idle ones just go.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "gateway connection ended");
    }
}

async fn answer(
    request: Request<Incoming>,
    gateway: Gateway,
    place: Place,
) -> Response<Full<Bytes>> {
    let stopping = gateway.tasks.stopping();
    let answered = tokio::select! {
        answered = admit(request, gateway, place) => answered,
        () = stopping.cancelled() => Err(Refusal::Stopping),
    };
    answered.unwrap_or_else(|refusal| {
        debug!(%refusal, "refused");
        refusal.response()
    })
}

async fn admit(
    mut request: Request<Incoming>,
    gateway: Gateway,
    place: Place,
) -> Result<Response<Full<Bytes>>, Refusal> {
    let limits = gateway.limits.borrow().clone();
    if let Some(left) = place.guest.rests(limits.wrong_guesses_per_minute) {
        return Err(Refusal::TooManyGuesses(left));
    }
    check_origin(request.headers(), &limits.origins)?;
    let asked = Asked::of(&request)?;
    let known = gateway.directory.look(&asked.session);
    let mut view = known.ok_or_else(|| {
        place.guest.guessed_wrong();
        Refusal::SessionNotFound
    })?;
    let key = match asked.wanted {
        Wanted::Socket(_) => Some(websocket_key(request.headers())?.to_owned()),
        Wanted::Version | Wanted::Inspect(_) => None,
    };
    let _visitor = gateway
        .porch
        .enter(&asked.session, limits.max_clients_per_session)
        .ok_or(Refusal::TooManyClients)?;
    let entered = door::enter(&mut view, asked.token.as_deref(), limits.hold_timeout).await;
    let live = entered.inspect_err(|refusal| {
        if *refusal == Refusal::Unauthorised {
            place.guest.guessed_wrong();
        }
    })?;
    let headers = request.headers();
    let (socket, key) = match (&asked.wanted, key) {
        (Wanted::Socket(socket), Some(key)) => (socket, key),
        (Wanted::Inspect(what), _) => {
            return inspect::answer(&live, headers, &asked, what).await;
        }
        (Wanted::Version | Wanted::Socket(_), _) => {
            return inspect::version(&live, headers, &asked);
        }
    };
    let path = socket_path(socket, live.supervisor.browser())?;
    let guard = live
        .clients
        .enter(limits.max_clients_per_session)
        .ok_or(Refusal::TooManyClients)?;
    let (browser, browser_read) = reach(&live, (&path, socket), &mut view).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    let client = Attaching {
        browser,
        browser_read,
        live,
        guard,
        view,
        max_message: limits.max_message_bytes,
        place,
    };
    gateway
        .tasks
        .spawn_bare(|stop| client.attach(upgrade, stop));
    switching(&key)
}

/// A page may connect from these origins only; whoever sends none is no page.
fn check_origin(headers: &header::HeaderMap, allowed: &[String]) -> Result<(), Refusal> {
    let Some(origin) = headers.get(header::ORIGIN).filter(|_| !allowed.is_empty()) else {
        return Ok(());
    };
    let known = |one: &String| one.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
    if allowed.iter().any(known) {
        Ok(())
    } else {
        Err(Refusal::Origin)
    }
}

/// Where DevTools has this socket.
fn socket_path(socket: &Socket, browser: &Browser) -> Result<String, Refusal> {
    match socket {
        Socket::Browser(Some(id)) if browser.ws_path.rsplit('/').next() != Some(id) => {
            Err(Refusal::TargetNotFound)
        }
        Socket::Browser(_) => Ok(browser.ws_path.clone()),
        Socket::Page(id) => Ok(format!("/devtools/page/{id}")),
    }
}

/// A connection of this client's own to the browser, which is a phone: while it is not held to be one
/// its requests fail, and a client would take that for the web's doing.
async fn reach(
    live: &Live,
    (path, socket): (&str, &Socket),
    view: &mut watch::Receiver<SessionView>,
) -> Result<(devtools::Stream, BytesMut), Refusal> {
    let opened = async {
        let mut stream = live.devtools.connect().await?;
        let read = cdp::open(&mut stream, path).await?;
        live.supervisor.holds().await;
        if let Socket::Page(page) = socket {
            live.supervisor.covers(page).await;
        }
        Ok::<_, cdp::CdpError>((stream, read))
    };
    let error = match timeout(REACH, opened).await {
        Ok(Ok(opened)) => return Ok(opened),
        Ok(Err(cdp::CdpError::NotFound)) => return Err(Refusal::TargetNotFound),
        Ok(Err(error)) => error,
        // Its sockets are used up and the agent sends no more, or it takes no connections.
        Err(_elapsed) => cdp::CdpError::TimedOut("a connection"),
    };
    let over = view.wait_for(|view| !matches!(view, SessionView::Live(_)));
    tokio::select! {
        Ok(view) = over => match &*view {
            SessionView::Cutting(reason) => return Err(Refusal::Ended(*reason)),
            SessionView::Ended(ending) => return Err(Refusal::Ended(ending.reason)),
            SessionView::Expected { .. } | SessionView::Live(_) => {}
        },
        () = sleep(END_ON_ITS_WAY) => {}
    }
    debug!(%error, "no connection to the browser");
    Err(Refusal::BrowserUnavailable)
}

/// A client between the 101 and its first frame.
struct Attaching {
    browser: devtools::Stream,
    browser_read: BytesMut,
    live: Arc<Live>,
    guard: ClientGuard,
    view: watch::Receiver<SessionView>,
    max_message: u64,
    place: Place,
}

impl Attaching {
    async fn attach(self, upgrade: OnUpgrade, stop: CancellationToken) {
        let upgraded = tokio::select! {
            upgraded = upgrade => upgraded,
            () = stop.cancelled() => return,
        };
        let parts = upgraded.map(Upgraded::downcast::<TokioIo<Stream>>);
        let parts = match parts {
            Ok(Ok(parts)) => parts,
            Ok(Err(_other)) => {
                return debug!(session = %self.live.session, "the connection is not ours");
            }
            Err(error) => {
                return debug!(session = %self.live.session, %error, "client left during the handshake");
            }
        };
        // A copy of the little that is there: the buffer of a whole head would stay as long as the client.
        let read = BytesMut::from(&parts.read_buf[..]);
        drop(parts.read_buf);
        let client = Client {
            stream: parts.io.into_inner(),
            read,
            browser: self.browser,
            browser_read: self.browser_read,
            live: self.live,
            view: self.view,
            max_message: self.max_message,
        };
        client.serve(self.guard, stop).await;
        drop(self.place);
    }
}

fn switching(key: &str) -> Result<Response<Full<Bytes>>, Refusal> {
    let accept = HeaderValue::try_from(accept_key(key))
        .map_err(|_bad| Refusal::Invalid("`Sec-WebSocket-Key` is not valid"))?;
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::Message;

    use super::super::stand::Stand;
    use super::*;

    #[tokio::test]
    async fn nobody_enters_while_the_browser_is_not_held_to_be_a_phone() {
        let stand = Stand::live().await;
        let mut gate = stand.live.supervisor.gate();
        stand.browser.deaf.send_replace(true);
        stand.browser.say(Message::Close(None));
        gate.wait_for(|open| !open).await.unwrap();
        let enters = async {
            let client = stand.client().await;
            assert!(*gate.borrow(), "it entered before");
            client
        };
        let hears = async {
            sleep(Duration::from_millis(50)).await;
            stand.browser.deaf.send_replace(false);
        };
        let (_client, ()) = tokio::join!(enters, hears);
    }
}
