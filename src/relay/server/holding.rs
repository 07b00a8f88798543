//! Taking an instance on, watching it, letting it go.

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use super::{
    Relay,
    attachment::{AttachFailed, Attachment, Outside},
    instances::{Begun, Gone, Leaving},
    ledger::News,
};
use crate::{
    model::{EndReason, InstanceId, Why},
    profile::Profile,
    relay::{Device, records},
};

/// How long what was started for an instance may take to stop.
const CLOSE: Duration = Duration::from_secs(5);
/// One request for sockets is enough until the agent has had time to answer it.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Relay {
    /// Makes a phone of an instance whose sockets are staged. The work goes on when the caller goes, and
    /// whoever asks for the same meanwhile waits for it.
    pub(super) async fn attach(
        self: &Arc<Self>,
        instance: InstanceId,
        profile: Profile,
        on_device: Option<Device>,
    ) -> Result<Arc<Attachment>, AttachFailed> {
        let (staged, attempt) = loop {
            match self.instances.begin(instance)? {
                Begun::Already(attachment) => return Ok(attachment),
                Begun::Fresh(staged, attempt) => break (staged, attempt),
                Begun::Underway(over) => over.cancelled().await,
            }
        };
        let (tell, done) = tokio::sync::oneshot::channel();
        let relay = Arc::clone(self);
        self.tasks.spawn("attach", |_stop| async move {
            // A detach waits for this: until then the slot is taken.
            let _over = attempt.over.clone().drop_guard();
            let tasks = relay.tasks.child();
            let outside = Outside {
                devtools: relay.devtools,
                on_device,
                policy: relay.policy.subscribe(),
                fence: relay.fence.watch(),
                resolver: Arc::clone(&relay.resolver.lock()),
                top_hosts: relay.top_hosts.subscribe(),
                patience: relay.patience.subscribe(),
            };
            let file = relay.paths.meter(instance);
            let work =
                Attachment::establish(instance, staged, profile, file, outside, tasks.clone());
            let outcome = tokio::select! {
                outcome = work => outcome.map(Arc::new),
                () = attempt.detached.cancelled() => Err(AttachFailed::Detached),
            };
            let outcome = match outcome {
                Ok(attachment) if relay.instances.finish(instance, &attachment) => {
                    relay.look_after(&attachment);
                    Ok(attachment)
                }
                Ok(attachment) => {
                    attachment.close().await;
                    Err(AttachFailed::Detached)
                }
                Err(error) => {
                    // What had been started for it stops here; a failure leaves nothing behind.
                    if let Err(stuck) = tasks.drain(CLOSE).await {
                        warn!(%instance, error = %stuck, "a failed attachment closes slowly");
                    }
                    Err(error)
                }
            };
            if outcome.is_err() {
                let clean_up = || records::remove(&relay.paths, instance);
                relay.instances.forget(instance, Gone::Attempt, clean_up);
            }
            // The caller may have gone; the outcome stands all the same.
            drop(tell.send(outcome));
        });
        done.await.unwrap_or(Err(AttachFailed::Detached))
    }

    /// The tasks that watch one attached instance.
    fn look_after(self: &Arc<Self>, attachment: &Arc<Attachment>) {
        let (relay, watched) = (Arc::clone(self), Arc::clone(attachment));
        attachment.spawn("instance-watch", async move {
            let cause = watched.lost().await;
            relay.lost(&watched, &cause);
        });
        let (relay, watched) = (Arc::clone(self), Arc::clone(attachment));
        attachment.spawn("socket-watch", async move {
            loop {
                watched.devtools.running_low().await;
                relay.ledger.push(News::SocketsLow(watched.instance));
                // One request is enough until the agent has had time to answer it.
                tokio::time::sleep(ASK_AGAIN).await;
            }
        });
    }

    /// The browser is dead or as good as dead: the session on it ends, or the agent is told.
    fn lost(self: &Arc<Self>, attachment: &Attachment, cause: &str) {
        let session = attachment.hold.lock().session.clone();
        if let Some(session) = session {
            let why = Why::seen(cause);
            let won = self.begin_end(&session, EndReason::SubstrateDown, why);
            info!(%session, instance = %attachment.instance, won = ?won, cause, "instance lost");
        } else {
            info!(instance = %attachment.instance, cause, "instance lost");
            self.ledger.push(News::InstanceLost {
                instance: attachment.instance,
                cause: cause.to_owned(),
            });
        }
    }

    /// Lets go of everything held for an instance; a session still on it ends `substrate_down`.
    pub(super) async fn detach(self: &Arc<Self>, instance: InstanceId) {
        let clean_up = || records::remove(&self.paths, instance);
        let attachment = match self.instances.leave(instance) {
            Leaving::Attachment(attachment) => attachment,
            Leaving::Attempt(over) => return over.cancelled().await,
            Leaving::Nothing => {
                self.instances.forget(instance, Gone::Nothing, clean_up);
                return;
            }
        };
        let session = attachment.hold.lock().session.clone();
        if let Some(session) = session {
            let why = Why::seen("its instance was taken away");
            self.end(&session, EndReason::SubstrateDown, why).await;
        }
        attachment.close().await;
        let gone = Gone::Attachment(&attachment);
        if self.instances.forget(instance, gone, clean_up) {
            let mut before = self.refused_before.lock();
            for (reason, count) in attachment.refusals() {
                *before.entry(reason).or_default() += count;
            }
        }
    }
}
