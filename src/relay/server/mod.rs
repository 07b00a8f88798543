//! The relay itself: takes the agent's orders, holds the instances, decides which end came first.
//!
//! | part | what it owns |
//! |---|---|
//! | [`sessions`] | the view of every session; the compare-and-set of its end |
//! | [`instances`] | sockets, supervisor, egress and meter of every instance |
//! | [`ledger`] | numbered news for the agent |
//! | [`clock`] | ttl and idle, as a decision |
//! | [`rpc`], [`fds`] | the two sockets that the agent speaks to |

mod clock;
mod convert;
mod fds;
mod instances;
mod ledger;
mod process;
mod records;
mod rpc;
mod sessions;

use std::{collections::BTreeMap, io, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{info, warn};

use self::{
    clock::{Limits, Tick},
    instances::{AttachFailed, Attachment, Begun, Instances, Outside},
    ledger::{Ledger, News},
    sessions::{BindRefused, Cut, Sessions},
};
use super::{
    Clients, Live, Paths, SessionView,
    client::Bind,
    egress::{Policy, Resolver},
    gateway,
};
use crate::{
    model::{EndReason, Ending, InstanceId, SessionId},
    profile::Profile,
    runtime::{Tasks, boot_now, wall_now},
};

pub use process::{Failed, Options, run};

/// Everything the relay holds. Shared by the tasks of one process.
#[derive(Debug)]
pub(super) struct Relay {
    paths: Paths,
    tasks: Tasks,
    sessions: Sessions,
    instances: Instances,
    ledger: Ledger,
    policy: watch::Sender<Arc<Policy>>,
    gateway: watch::Sender<gateway::Limits>,
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
    #[error("instance {0} serves another session")]
    Taken(InstanceId),
    #[error(transparent)]
    Session(#[from] BindRefused),
    #[error("the clock or the record's file failed: {0}")]
    Io(#[from] io::Error),
}

impl Relay {
    /// Makes a phone of an instance whose sockets are staged. The work goes on when the caller goes.
    async fn attach(
        self: &Arc<Self>,
        instance: InstanceId,
        profile: Profile,
    ) -> Result<Arc<Attachment>, AttachFailed> {
        let (staged, detached) = match self.instances.begin(instance)? {
            Begun::Already(attachment) => return Ok(attachment),
            Begun::Fresh(staged, detached) => (staged, detached),
        };
        let (tell, done) = tokio::sync::oneshot::channel();
        let relay = Arc::clone(self);
        self.tasks.spawn("attach", |_stop| async move {
            let tasks = relay.tasks.child();
            let outside = Outside {
                policy: relay.policy.subscribe(),
                resolver: Arc::clone(&relay.resolver.lock()),
            };
            let file = relay.paths.meter(instance);
            let work =
                Attachment::establish(instance, staged, profile, file, outside, tasks.clone());
            let outcome = tokio::select! {
                outcome = work => outcome.map(Arc::new),
                () = detached.cancelled() => Err(AttachFailed::Detached),
            };
            let filed = relay.instances.finish(instance, outcome.as_ref().ok());
            let outcome = match outcome {
                Ok(attachment) if filed => {
                    relay.look_after(&attachment);
                    Ok(attachment)
                }
                Ok(attachment) => {
                    attachment.close().await;
                    Err(AttachFailed::Detached)
                }
                Err(error) => {
                    // What had been started for it stops here; a failure leaves nothing behind.
                    if let Err(stuck) = tasks.drain(std::time::Duration::from_secs(5)).await {
                        warn!(%instance, error = %stuck, "a failed attachment closes slowly");
                    }
                    records::remove(&relay.paths, instance);
                    Err(error)
                }
            };
            // The caller may have gone; the outcome stands all the same.
            drop(tell.send(outcome));
        });
        done.await.unwrap_or(Err(AttachFailed::Detached))
    }

    /// The tasks that watch one attached instance.
    fn look_after(self: &Arc<Self>, attachment: &Arc<Attachment>) {
        let (relay, watched) = (Arc::clone(self), Arc::clone(attachment));
        attachment.spawn("instance-watch", async move {
            watched.died().await;
            relay.lost(&watched);
        });
        let (relay, watched) = (Arc::clone(self), Arc::clone(attachment));
        attachment.spawn("socket-watch", async move {
            loop {
                watched.dialer.running_low().await;
                relay.ledger.push(News::SocketsLow(watched.instance));
                // One request is enough until the agent has had time to answer it.
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        });
    }

    /// The container's init is dead: the session on it ends, or the agent is told.
    fn lost(self: &Arc<Self>, attachment: &Attachment) {
        let cause = "the browser's container died";
        let session = attachment.session.lock().clone();
        if let Some(session) = session {
            let won = self.begin_end(&session, EndReason::SubstrateDown, Some(cause.to_owned()));
            info!(%session, instance = %attachment.instance, won = ?won, cause, "instance lost");
        } else {
            info!(instance = %attachment.instance, cause, "instance lost");
            self.ledger.push(News::InstanceLost {
                instance: attachment.instance,
                cause: cause.to_owned(),
            });
        }
    }

    /// Gives an attached instance to a session and starts its clocks.
    fn bind(self: &Arc<Self>, bind: Bind) -> Result<(), BindFailed> {
        let attachment = self
            .instances
            .get(bind.instance)
            .ok_or(BindFailed::NotAttached(bind.instance))?;
        {
            let mut holder = attachment.session.lock();
            match &*holder {
                Some(session) if *session != bind.session => {
                    return Err(BindFailed::Taken(bind.instance));
                }
                _ => *holder = Some(bind.session.clone()),
            }
        }
        records::write(&self.paths, &bind)?;
        let live = Arc::new(Live {
            session: bind.session.clone(),
            dialer: Arc::clone(&attachment.dialer),
            meter: Arc::clone(&attachment.meter),
            browser: attachment.supervisor.browser().clone(),
            supervisor: attachment.supervisor.clone(),
            token: bind.token,
            clients: Clients::new(Arc::clone(&attachment.meter)),
        });
        // Out first, in second: a client's first navigation must not find the way shut.
        attachment.open_route(bind.source_ip);
        if !self
            .sessions
            .bind(Arc::clone(&live), bind.instance, bind.record)?
        {
            return Ok(());
        }
        info!(session = %bind.session, instance = %bind.instance, "bound");
        let limits = Limits {
            deadline: bind.deadline,
            idle_timeout: bind.idle_timeout,
        };
        let relay = Arc::clone(self);
        attachment.spawn("clock", async move { relay.run_clock(&live, limits).await });
        Ok(())
    }

    async fn run_clock(self: Arc<Self>, live: &Live, limits: Limits) {
        let mut clients = live.clients.watch();
        loop {
            let now = match boot_now() {
                Ok(now) => now,
                Err(error) => {
                    warn!(session = %live.session, %error, "the clock cannot be read");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    continue;
                }
            };
            let open = *clients.borrow_and_update();
            match limits.tick(now, open, live.clients.idle_since_micros()) {
                Tick::Due(reason) => {
                    self.begin_end(&live.session, reason, None);
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
        detail: Option<String>,
    ) -> Option<(Ending, bool)> {
        let won = self.begin_end(session, reason, detail)?;
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
        detail: Option<String>,
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
                detail,
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

    /// Lets go of everything held for an instance; a session still on it ends `substrate_down`.
    async fn detach(self: &Arc<Self>, instance: InstanceId) {
        let held = self.instances.get(instance);
        let session = held.and_then(|attachment| attachment.session.lock().clone());
        if let Some(session) = session {
            let detail = "its instance was taken away".to_owned();
            self.end(&session, EndReason::SubstrateDown, Some(detail))
                .await;
        }
        if let Some(attachment) = self.instances.take(instance) {
            attachment.close().await;
            let mut before = self.refused_before.lock();
            for (reason, count) in attachment.refusals() {
                *before.entry(reason).or_default() += count;
            }
        }
        records::remove(&self.paths, instance);
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
