//! The egress proxy of one instance: the only way out of a container that has no network.
//!
//! ```text
//!   browser ─▶ 127.0.0.1:3128 ─▶ conn ─┬─ CONNECT, SOCKS5 ──▶ tunnel ─┐
//!              (inside)                └─ GET http://… ─▶ proxy ──────┤
//!                                                                     ▼
//!              resolver ─▶ policy ─▶ one judged address ─▶ outer leg: gate, meter ─▶ origin
//!                            └─ judged as far as can be ─▶ outer leg ─▶ upstream ─▶ origin
//! ```
//!
//! A request is resolved absolutely, denied addresses are dropped, and the connection goes to
//! exactly an address that is left, from the address of the session's route. Where the route has an
//! upstream, that is asked to connect: names are handed to it, addresses are judged before. What is
//! refused looks to a page like a host that cannot be reached ([`refusal`]), is counted and logged, and
//! moves no counter of the [`Meter`]. The outer leg, an upstream's handshake included, is metered as bytes move.
//!
//! While the gate is shut nothing is written upward; requests are held, not refused.
//!
//! Nothing is cached, nothing is added to a message, and no `Via` tells that anybody stood between.

mod account;
mod authority;
mod bucket;
mod bulk;
mod chunked;
mod conn;
mod fields;
mod framing;
mod gate;
mod head;
mod hosts;
mod leg;
mod outer;
mod own;
mod pace;
mod policy;
mod probe;
mod proxy;
mod ration;
mod refusal;
mod resolver;
mod route;
mod shared;
mod socks;
mod socks_words;
mod source;
mod tls;
mod tunnel;
mod upstream;

use std::{
    io, iter,
    os::fd::{AsFd, OwnedFd},
    pin::pin,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use futures::stream::{FuturesUnordered, StreamExt};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use self::route::Route;
use self::shared::{ROOM, Shared};
pub use self::{
    policy::{Ground, Policy, Verdict},
    probe::{Probed, probe},
    refusal::{Reason, Refusals},
    resolver::Resolver,
};
use super::{Way, meter::Meter};
use crate::{
    model::{HostTraffic, InstanceId},
    runtime::Tasks,
};

/// Out of descriptors or memory: this long until the next try.
const BACK_OFF: Duration = Duration::from_millis(200);
/// Connections end at once when they are told to; this long means that one hangs.
const CUT_GRACE: Duration = Duration::from_secs(10);

/// A session that another relay served has its route again within moments of its attachment; until
/// then connections stay where they queued meanwhile.
const ROUTE_FOLLOWS: Duration = Duration::from_secs(3);

/// What an egress proxy works with.
#[derive(Debug)]
pub struct Setup {
    /// Whose proxy it is.
    pub instance: InstanceId,
    /// Counts the outer leg.
    pub meter: Arc<Meter>,
    /// While false nothing is written upward; once its sender is gone nothing ever is.
    pub gate: watch::Receiver<bool>,
    /// While false nothing leaves and nothing comes: connections are cut, new ones wait.
    pub fence: watch::Receiver<bool>,
    /// What may be reached.
    pub policy: watch::Receiver<Arc<Policy>>,
    /// Turns names into addresses.
    pub resolver: Arc<Resolver>,
    /// Of so many hosts the bytes are shown; 0 counts none.
    pub top_hosts: watch::Receiver<usize>,
}

/// The running proxy of one instance.
#[derive(Debug)]
pub struct Egress {
    shared: Arc<Shared>,
    route: watch::Sender<Option<Arc<Route>>>,
    /// Turns true once the session has had all the bytes that it may have.
    spent: watch::Sender<bool>,
    /// Held by the task that accepts, and gone with it.
    listener: Weak<TcpListener>,
    tasks: Tasks,
}

impl Egress {
    /// Serves `listener` until it is cut or `tasks` stops. There is no route yet: requests are
    /// refused until [`Egress::set_way`].
    ///
    /// # Errors
    /// When the listener cannot be registered with the reactor.
    pub fn start(listener: OwnedFd, setup: Setup, tasks: &Tasks) -> io::Result<Self> {
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(true)?;
        // What is accepted has it too: Linux passes the options of a listener on.
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        let listener = Arc::new(TcpListener::from_std(listener)?);
        let known = Arc::downgrade(&listener);
        let (route, routes) = watch::channel(None);
        let shared = Arc::new(Shared::new(setup, routes));
        let own = tasks.child();
        let accepting = Arc::clone(&shared);
        let group = own.clone();
        own.spawn("egress accept", |stop| {
            accept(listener, accepting, group, stop)
        });
        // The owner of `tasks` drains them before it goes: so it waits for the connections too.
        let group = own.clone();
        tasks.spawn("egress", |_stop| async move {
            group.stopping().cancelled().await;
            drain(&group).await;
        });
        Ok(Self {
            shared,
            route,
            spent: watch::Sender::new(false),
            listener: known,
            tasks: own,
        })
    }

    /// Gives the instance a way out, or takes it away; connections that are open stay as they are.
    pub fn set_way(&self, way: Option<Way>) {
        let instance = self.shared.setup.instance;
        let route = way.map(|way| Route::rationed(instance, way, self.spent.clone()));
        let route = route.map(Arc::new);
        let ration = route.as_ref().and_then(|route| route.ration.as_ref());
        if let Some(ration) = ration {
            ration.settle(&self.shared.setup.meter);
        }
        self.route.send_replace(route);
    }

    /// A duplicate of the listener: connections queue on it while nobody accepts.
    ///
    /// # Errors
    /// Once it was dropped, or without a descriptor to be had.
    pub fn listener(&self) -> io::Result<OwnedFd> {
        let listener = self.listener.upgrade();
        let listener = listener.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        listener.as_fd().try_clone_to_owned()
    }

    /// Drops the listener and every connection. When this returns the meter moves no more.
    /// Idempotent.
    pub async fn cut(&self) {
        drain(&self.tasks).await;
    }

    /// Turns true once the session has had all the bytes that it may have.
    #[must_use]
    pub fn spent(&self) -> watch::Receiver<bool> {
        self.spent.subscribe()
    }

    /// What was refused, by reason.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.shared.refusals
    }

    /// Connections that its route's upstream has made for it.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.shared.reached.load(Ordering::Relaxed)
    }

    /// The hosts with the most bytes, and all others together; empty where they are not counted.
    #[must_use]
    pub fn top_hosts(&self) -> Vec<HostTraffic> {
        self.shared.top_hosts()
    }

    /// Connections of the browser that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        ROOM - self.shared.room.available_permits().min(ROOM)
    }
}

async fn drain(tasks: &Tasks) {
    if let Err(stuck) = tasks.drain(CUT_GRACE).await {
        error!(%stuck, "egress connections ignore their end");
    }
}

/// Takes connections while there is room; those beyond wait in the listener's backlog.
async fn accept(
    listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    tasks: Tasks,
    stop: CancellationToken,
) {
    let mut route = shared.route.clone();
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        // Without one in this time it is nobody's yet, and its connections are told so.
        _followed = timeout(ROUTE_FOLLOWS, route.wait_for(Option::is_some)) => {}
    }
    let mut failing = false;
    let mut stopped = pin!(stop.cancelled());
    loop {
        let next = async {
            drop(shared.room.acquire().await);
            listener.accept().await
        };
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, _inside)) => {
                failing = false;
                // Free: nobody else takes any.
                let permit = Arc::clone(&shared.room).acquire_owned().await;
                let shared = Arc::clone(&shared);
                tasks.spawn_bare(|stop| async move {
                    serve(stream, shared, stop).await;
                    drop(permit);
                });
            }
            Err(gone) if gone.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !failing {
                    warn!(instance = %shared.setup.instance, %error, "egress cannot accept");
                }
                failing = true;
                sleep(BACK_OFF).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, stop: CancellationToken) {
    let (mut gate, mut fence) = (shared.setup.gate.clone(), shared.setup.fence.clone());
    // What comes while it is shut waits for it here, so nothing of it is read.
    let opened = tokio::select! {
        biased;
        opened = fence.wait_for(|open| *open) => opened.is_ok(),
        () = stop.cancelled() => return,
    };
    if !opened {
        return;
    }
    let ended = async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            Ok(_shut) = fence.wait_for(|open| !open) => {}
            // What the browser says meanwhile is what a desktop says, and would still be when the gate
            // opens again: it must not wait, it must fail.
            Ok(_shut) = gate.wait_for(|open| !open) => {}
        }
    };
    // In there it is polled once and then only when one of the three has woken it. Asked with every
    // poll of the connection, each of them takes a lock that all connections of the relay share.
    let mut ended: FuturesUnordered<_> = iter::once(ended).collect();
    tokio::select! {
        biased;
        _ended = ended.next() => {}
        () = conn::serve(stream, shared) => {}
    }
}

#[cfg(test)]
mod tests;
