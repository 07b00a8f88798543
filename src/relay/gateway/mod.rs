//! Where clients come in: one CDP WebSocket per client, straight to the browser of its session.
//!
//! ```text
//!   GET /sessions/{id}                      ┌ held before the 101 while the session is being made
//!   GET /sessions/{id}/devtools/page/{tid} ─┤ refused with a reason when it is over
//!   GET /sessions/{id}/json/version, list … └ served
//!
//!            whole messages                         frame headers only
//!   client ═══▶ [join · judge · answer?] ═══▶ browser ═══▶ [walk · stream] ═══▶ client
//! ```
//!
//! It is asymmetric by design: what a client says is read as far as its id, method and session, for
//! one table ([`methods`]) says what may pass; what the browser says is only followed frame by frame,
//! so that our own answers and the last word go between them, but for the first bytes of each message:
//! they show an answer that is for the gateway itself ([`own`]), and the end of a session. Both
//! handshakes are ours: extensions are never agreed on, and a client's `Origin` stays outside: several
//! CDP clients send one, the browser would refuse it, and who may come in is said by the session's id,
//! not by where a page came from.
//!
//! | part | what it does |
//! |---|---|
//! | [`http`] | requests and their answers, the upgrade |
//! | [`inspect`] | what DevTools serves beside its sockets |
//! | [`porch`] | how many of one session wait or ask at once |
//! | [`door`] | whether and when a client may enter its session |
//! | [`request`] | what a request asks for |
//! | [`refusal`] | every "no", as the API words it |
//! | [`methods`], [`message`] | the table, and the messages that it judges |
//! | [`own`] | what the gateway itself asks of the browser |
//! | [`client`] | one attached client from its first byte to its last |
//! | [`up`], [`down`], [`room`] | the two directions, and how much they read at once |

mod client;
mod door;
mod down;
mod http;
mod inspect;
mod message;
mod methods;
mod own;
mod porch;
mod refusal;
mod request;
mod room;
mod sources;
#[cfg(test)]
mod stand;
mod up;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::sleep,
};
use tracing::{debug, warn};

use self::{
    porch::Porch,
    sources::{Guest, Sources},
};
use super::SessionView;
use crate::{
    model::SessionId,
    runtime::{Lanes, Tasks},
    tls::{Server, plain},
};

/// Connections that the listener serves at once, attached clients included.
const MAX_CONNECTIONS: usize = 16_384;
/// A peer that is gone without a word is noticed after 15 + 5 × 3 s of silence …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
/// … or when it has acknowledged nothing of what was sent for so long. To the kernel that includes a
/// peer that lives but takes nothing, so a client that stops reading is cut by this (measured: after
/// 31 s), and the limit in [`down`] stands behind it.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// After `accept` failed, as it does when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the gateway finds sessions.
pub trait Directory: Send + Sync + 'static {
    /// What is known of `session`; it changes as the session lives.
    fn look(&self, session: &SessionId) -> Option<watch::Receiver<SessionView>>;
}

/// What one client may ask of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a client that came before its session is ready is held.
    pub hold_timeout: Duration,
    /// The largest message that a client may send.
    pub max_message_bytes: u64,
    /// Clients of one session at once: so many are served, and as many may wait or ask.
    pub max_clients_per_session: u32,
    /// Connections of one source at once; 0 is any number.
    pub max_connections_per_source: u32,
    /// Wrong guesses of an id or a token that one source may make a minute; 0 is any number.
    pub wrong_guesses_per_minute: u32,
    /// Origins that pages may connect from; empty is any. A client without an `Origin` is no page.
    pub origins: Arc<[String]>,
}

/// Where clients come in.
#[derive(Debug)]
pub struct Door {
    /// The socket.
    pub listener: TcpListener,
    /// What they are shown; none: they come in plaintext.
    pub tls: watch::Receiver<Option<Server>>,
}

/// What every connection shares.
#[derive(Clone)]
struct Gateway {
    directory: Arc<dyn Directory>,
    limits: watch::Receiver<Limits>,
    porch: Arc<Porch>,
    tasks: Tasks,
    lanes: Arc<Lanes>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("limits", &*self.limits.borrow())
            .finish_non_exhaustive()
    }
}

/// Accepts clients at `door` until `tasks` stop; each is served on one of `lanes`.
pub fn serve(
    door: Door,
    directory: Arc<dyn Directory>,
    limits: watch::Receiver<Limits>,
    lanes: Arc<Lanes>,
    tasks: &Tasks,
) {
    let gateway = Gateway {
        directory,
        limits,
        lanes,
        porch: Arc::default(),
        tasks: tasks.clone(),
    };
    tasks.spawn("gateway", |stop| async move {
        tokio::select! {
            () = accept(door, gateway) => {}
            () = stop.cancelled() => {}
        }
    });
}

async fn accept(door: Door, gateway: Gateway) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let sources = Sources::default();
    loop {
        let (stream, peer) = match door.listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "gateway cannot accept");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let most = gateway.limits.borrow().max_connections_per_source;
        let place = Arc::clone(&places).try_acquire_owned().ok();
        let guest = place.and_then(|place| Some((place, sources.enter(peer.ip(), most)?)));
        match guest {
            Some((place, guest)) => welcome(
                (stream, peer),
                door.tls.borrow().clone(),
                Place {
                    _free: place,
                    guest,
                },
                &gateway,
            ),
            // To who expects a handshake it is no answer, and the end all the same.
            None => refusal::turn_away(&stream),
        }
    }
}

/// What a connection has taken, and whose it is; given back when dropped.
#[derive(Debug)]
struct Place {
    _free: OwnedSemaphorePermit,
    guest: Guest,
}

fn welcome(
    (stream, peer): (TcpStream, SocketAddr),
    tls: Option<Server>,
    place: Place,
    gateway: &Gateway,
) {
    // A socket that is gone already says so here; reading from it says it again.
    let stream = match tune(&stream).and_then(|()| stream.into_std()) {
        Ok(stream) => stream,
        Err(error) => return debug!(%error, "client gone at once"),
    };
    let (serving, lane) = (gateway.clone(), gateway.lanes.next());
    gateway.tasks.spawn_bare_on(lane, |stop| async move {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return warn!(%error, "gateway cannot serve a connection"),
        };
        let stream = match tls {
            Some(tls) => {
                let shaken = stop.run_until_cancelled(tls.welcome("cdp", peer, stream));
                shaken.await.flatten()
            }
            None => Some(plain(stream)),
        };
        if let Some(stream) = stream {
            http::serve(stream, Arc::new(place), serving, stop).await;
        }
    });
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES),
    )?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "limits_tests.rs"]
mod limits_tests;

#[cfg(test)]
#[path = "news_tests.rs"]
mod news_tests;
