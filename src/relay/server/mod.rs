//! The relay itself: takes the agent's orders, holds the instances, decides which end came first.
//!
//! | part | what it owns |
//! |---|---|
//! | [`sessions`] | the view of every session; the compare-and-set of its end |
//! | [`instances`] | every instance, from its sockets' coming to its going |
//! | [`attachment`] | sockets, supervisor, egress and meter of one |
//! | [`holding`] | taking an instance on, watching it, letting it go |
//! | [`ledger`] | numbered news for the agent |
//! | [`clock`] | ttl and idle, as a decision |
//! | [`fence`] | until when anything may leave |
//! | [`secure`] | what the gateway shows to clients |
//! | [`rpc`], [`fds`] | the two sockets that the agent speaks to |

mod attachment;
mod clock;
mod convert;
mod fds;
mod fence;
mod holding;
mod instances;
mod ledger;
mod privilege;
mod process;
mod rpc;
mod secure;
mod sessions;

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{info, warn};

use self::{
    attachment::{AttachFailed, Attachment},
    clock::{Limits, Tick},
    fence::Fence,
    instances::Instances,
    ledger::{Ledger, News},
    sessions::{BindRefused, Cut, Sessions},
};
use super::{
    Clients, Live, Paths, SessionView,
    client::Bind,
    egress::{Policy, Resolver},
    gateway, records,
};
use crate::{
    model::{EndReason, Ending, InstanceId, SessionId, Why},
    runtime::{Tasks, boot_now, wall_now},
    tls::Server,
    traces::Calls,
};

pub use process::{Failed, Options, run};

/// Everything the relay holds. Shared by the tasks of one process.
#[derive(Debug)]
pub(super) struct Relay {
    paths: Paths,
    tasks: Tasks,
    sessions: Sessions,
    instances: Instances,
    /// Where DevTools listens inside every container.
    devtools: SocketAddr,
    ledger: Ledger,
    fence: Fence,
    /// Turns true at the first `Hello`: until then no client is accepted, for nobody is known yet.
    greeted: watch::Sender<bool>,
    policy: watch::Sender<Arc<Policy>>,
    gateway: watch::Sender<gateway::Limits>,
    /// Of so many hosts of each instance the bytes are shown; 0 counts none.
    top_hosts: watch::Sender<usize>,
    /// What the gateway shows; none: it speaks plaintext.
    tls: watch::Sender<Option<Server>>,
    /// Its orders, as traces.
    calls: Calls,
    /// How long a browser may be silent.
    patience: watch::Sender<Duration>,
    /// Replaced by each `Hello`; instances keep the one that they were attached with.
    resolver: Mutex<Arc<Resolver>>,
    /// Refusals of instances that are gone, by reason.
    refused_before: Mutex<BTreeMap<&'static str, u64>>,
}

/// Why a session could not be bound.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindFailed {
    #[error("instance {0} is not attached")]
    NotAttached(InstanceId),
    #[error("instance {0} is not supervised, or has no page")]
    Unfit(InstanceId),
    #[error("instance {0} serves another session")]
    Taken(InstanceId),
    #[error(transparent)]
    Session(#[from] BindRefused),
    #[error("the clock or the record's file failed: {0}")]
    Io(#[from] io::Error),
}

impl Relay {
    /// Gives an attached instance to a session and starts its clocks.
    fn bind(self: &Arc<Self>, bind: Bind) -> Result<(), BindFailed> {
        let attachment = self
            .instances
            .get(bind.instance)
            .ok_or(BindFailed::NotAttached(bind.instance))?;
        let mut hold = attachment.hold.lock();
        if !attachment.takes(&hold) {
            return Err(BindFailed::NotAttached(bind.instance));
        }
        let before = hold.session.as_ref();
        if before.is_some_and(|session| *session != bind.session) {
            return Err(BindFailed::Taken(bind.instance));
        }
        if before.is_none() && !attachment.supervisor.has_page() {
            return Err(BindFailed::Unfit(bind.instance));
        }
        records::write(&self.paths, &bind)?;
        attachment.meter.raise(bind.used);
        let live = Arc::new(Live {
            session: bind.session.clone(),
            devtools: Arc::clone(&attachment.devtools),
            meter: Arc::clone(&attachment.meter),
            supervisor: attachment.supervisor.clone(),
            token: bind.token,
            clients: Clients::new(Arc::clone(&attachment.meter)),
        });
        // Out first, in second: a client's first navigation must not find the way shut. But never
        // for a session that is over: its bytes are final.
        let way = bind.way.unwrap_or_default();
        let quota = (way.limits.quota_bytes > 0).then(|| live.session.clone());
        let again = bind.reroute.then(|| way.clone());
        let open = || attachment.open_way(way);
        let bound = self
            .sessions
            .bind(Arc::clone(&live), bind.instance, bind.record, open)
            .inspect_err(|_refused| {
                if before.is_none() {
                    records::take_back(&self.paths, bind.instance);
                }
            })?;
        hold.session = Some(bind.session.clone());
        if !bound {
            if let Some(way) = again {
                info!(session = %bind.session, instance = %bind.instance, "leaves another way");
                attachment.open_way(way);
                self.mind_quota(&attachment, quota);
            }
            return Ok(());
        }
        info!(session = %bind.session, instance = %bind.instance, "bound");
        let limits = Limits {
            deadline: bind.deadline,
            idle_timeout: bind.idle_timeout,
        };
        let relay = Arc::clone(self);
        self.mind_quota(&attachment, quota);
        attachment.spawn("clock", async move { relay.run_clock(&live, limits).await });
        Ok(())
    }

    /// Ends a session that has a quota with the last byte of it.
    fn mind_quota(self: &Arc<Self>, attachment: &Arc<Attachment>, session: Option<SessionId>) {
        let Some(session) = session else { return };
        let (relay, watched) = (Arc::clone(self), Arc::clone(attachment));
        attachment.spawn("quota", async move {
            watched.spent().await;
            relay.begin_end(&session, EndReason::QuotaExceeded, Why::default());
        });
    }

    async fn run_clock(self: Arc<Self>, live: &Live, limits: Limits) {
        let mut clients = live.clients.watch();
        loop {
            let now = match boot_now() {
                Ok(now) => now,
                Err(error) => {
                    warn!(session = %live.session, %error, "the clock cannot be read");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let open = *clients.borrow_and_update();
            match limits.tick(now, open, live.clients.idle_since_micros()) {
                Tick::Due(reason) => {
                    self.begin_end(&live.session, reason, Why::default());
                    return;
                }
                Tick::Wait(wait) => {
                    // A change of clients is looked at as soon as it comes.
                    let _changed = tokio::time::timeout(wait, clients.changed()).await;
                }
            }
        }
    }

    /// Ends a session and waits for its ending, whoever won. `None` for one never heard of.
    async fn end(
        self: &Arc<Self>,
        session: &SessionId,
        reason: EndReason,
        why: Why,
    ) -> Option<(Ending, bool)> {
        let won = self.begin_end(session, reason, why)?;
        let mut view = self.sessions.look(session)?;
        let ended = view
            .wait_for(|view| matches!(view, SessionView::Ended(_)))
            .await
            .ok()?;
        match &*ended {
            SessionView::Ended(ending) => Some((ending.clone(), won)),
            SessionView::Expected { .. } | SessionView::Live(_) | SessionView::Cutting(_) => None,
        }
    }

    /// The compare-and-set; the winner's cut runs in a task of its own. `Some(won)`.
    fn begin_end(
        self: &Arc<Self>,
        session: &SessionId,
        reason: EndReason,
        why: Why,
    ) -> Option<bool> {
        let Cut::Won { instance, record } = self.sessions.cut(session, reason)? else {
            return Some(false);
        };
        let at = wall_now();
        let (relay, session) = (Arc::clone(self), session.clone());
        self.tasks.spawn("cut", |_stop| async move {
            let attachment = instance.and_then(|instance| relay.instances.get(instance));
            let traffic = match attachment {
                Some(attachment) => {
                    attachment.cut().await;
                    attachment.meter.traffic()
                }
                None => crate::model::Traffic::default(),
            };
            let ending = Ending {
                reason,
                at,
                traffic,
                detail: why.detail,
                blame: why.blame,
            };
            info!(%session, %reason, up = traffic.up, down = traffic.down, "session ended");
            let seq = relay.ledger.push(News::Ended {
                session: session.clone(),
                instance,
                ending: ending.clone(),
                record,
            });
            let now = boot_now().map_or(0, |now| now.micros);
            relay.sessions.settle(&session, ending, seq, now);
        });
        Some(true)
    }

    /// Requests of pages that the egress policy refused since this process started, by reason.
    fn refused(&self) -> BTreeMap<&'static str, u64> {
        let mut refused = self.refused_before.lock().clone();
        for attachment in self.instances.all() {
            for (reason, count) in attachment.refusals() {
                *refused.entry(reason).or_default() += count;
            }
        }
        refused
    }
}

impl gateway::Directory for Relay {
    fn look(&self, session: &SessionId) -> Option<watch::Receiver<SessionView>> {
        self.sessions.look(session)
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
