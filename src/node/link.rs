//! The task that keeps this node and its relay together.
//!
//! It follows the relay's events; when the relay goes it starts another, gives it back every
//! instance, and follows on. It keeps a duplicate of the gateway's listener, so that clients who
//! dial in between queue instead of being refused.

use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Node, ledger::Ledger, restart};
use crate::{
    instance::View,
    journal::SessionRow,
    model::{Blame, EndReason, Ending, Failure, Phase, SessionId},
    relay::{
        client::{Ended, RelayClient, RelayError, RelayEvent, Settings, Welcome},
        launch::{self, Launch, LaunchError},
    },
    session::{self, Cause, Session},
};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What finding or starting the relay takes.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) launch: Launch,
    pub(super) settings: Settings,
    pub(super) relay: RelayClient,
    /// A duplicate of the gateway's listener.
    pub(super) gateway: Option<Arc<OwnedFd>>,
}

impl Link {
    /// Finds the relay, or starts one, and takes a duplicate of its gateway's listener.
    /// `living` are the sessions whose clients it must know from the first on.
    pub(super) async fn greet(&mut self, living: &[SessionRow]) -> Result<Welcome, LaunchError> {
        let listener = self.gateway.as_deref();
        let settings = Settings {
            expected: living.iter().map(session::expected).collect(),
            ..self.settings.clone()
        };
        let welcome = launch::ensure(&self.launch, &self.relay, &settings, listener).await?;
        match self.relay.gateway_listener().await {
            Ok(listener) => self.gateway = Some(Arc::new(listener)),
            // Clients would be refused while the relay restarts: worse, not wrong.
            Err(error) => warn!(%error, "no duplicate of the gateway's listener"),
        }
        Ok(welcome)
    }

    /// Until the process stops. `first` is the relay that was greeted at the start.
    pub(super) async fn run(mut self, node: Node, first: Welcome, stop: CancellationToken) {
        let mut relay_id = first.relay_id;
        let ended = node.inner.ended.clone();
        let mut ledger = Ledger::default();
        let mut pause = FIRST_PAUSE;
        loop {
            let followed = tokio::select! {
                followed = follow(&self.relay, &node, &mut ledger) => followed,
                // Beside the events: one browser that does not answer must not delay their news.
                () = give_back(&node, &self.relay).then(|()| std::future::pending()) => return,
                () = stop.cancelled() => return,
                () = ended.cancelled() => return,
            };
            node.pool().doubt();
            match followed {
                Ok(()) => info!("the relay ended its events"),
                Err(error) => info!(%error, "the relay was lost"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
                () = ended.cancelled() => return,
            }
            let rows = node.sessions().all().into_iter().map(|one| one.row());
            let live = rows.filter(|row| row.phase != Phase::Ended);
            let living: Vec<_> = live.map(|row| SessionRow::clone(&row)).collect();
            match self.greet(&living).await {
                Ok(welcome) => {
                    if welcome.relay_id != relay_id {
                        relay_id.clone_from(&welcome.relay_id);
                        ledger = Ledger::default();
                    }
                    pause = FIRST_PAUSE;
                    node.relay_is(Ok(welcome));
                }
                Err(error) => {
                    warn!(%error, "there is no relay");
                    node.relay_is(Err(error.to_string()));
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

impl Node {
    /// Tells the relay its settings as they are now, and lets pages reach these endpoints of this process
    /// until it is told again: a relay that was lost is told of none.
    ///
    /// # Errors
    /// What the relay answers.
    pub async fn tell_relay(&self, egress_endpoints: Vec<SocketAddr>) -> Result<(), RelayError> {
        let settings = Settings {
            egress_endpoints,
            ..self.inner.settings.clone()
        };
        let relay = &self.instances().tools().relay;
        relay.hello(&settings).await.map(drop)
    }
}

/// Works through events until the stream ends.
async fn follow(relay: &RelayClient, node: &Node, ledger: &mut Ledger) -> Result<(), RelayError> {
    let mut events = relay.watch(ledger.resume_after()).await?;
    let mut open: FuturesUnordered<BoxFuture<'_, (u64, bool)>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => {
                    let event = event?;
                    let seq = seq(&event);
                    ledger.begin(seq);
                    open.push(handle(node, event).map(move |done| (seq, done)).boxed());
                }
                None => return Ok(()),
            },
            Some((seq, done)) = open.next() => {
                // What could not be journalled stays open: it is told again.
                if done {
                    ledger.done(seq);
                }
                if let Some(upto) = ledger.ack() {
                    relay.ack(upto).await?;
                }
            }
        }
    }
}

const fn seq(event: &RelayEvent) -> u64 {
    match event {
        RelayEvent::Ended(Ended { seq, .. })
        | RelayEvent::SocketsLow { seq, .. }
        | RelayEvent::InstanceLost { seq, .. } => *seq,
    }
}

/// Does what an event asks for; true when it need not be told again.
async fn handle(node: &Node, event: RelayEvent) -> bool {
    match event {
        RelayEvent::Ended(ended) => match node.sessions().get(&ended.session) {
            Some(session) => {
                let cause = found_out(node, &session, &ended.ending).await;
                session.cut_for(ended.ending, cause).await
            }
            None => let_go(node, &ended.session).await,
        },
        RelayEvent::SocketsLow { instance, .. } => {
            debug!(%instance, "sockets are low");
            if let Some(instance) = node.instances().get(instance) {
                instance.refill();
            }
            true
        }
        RelayEvent::InstanceLost {
            instance, cause, ..
        } => {
            let found = node.instances().autopsy(instance).await;
            let (message, blame) = found.map_or((cause, Blame::Substrate), |a| (a.saw, a.blame));
            if let Some(instance) = node.instances().get(instance) {
                let failure = Failure {
                    code: "browser_exited".to_owned(),
                    message,
                    blame,
                };
                instance.destroy(Some(failure)).await;
            }
            true
        }
    }
}

/// What a session's browser died of, before its container is removed.
pub(super) async fn found_out(node: &Node, session: &Session, ending: &Ending) -> Option<Cause> {
    let row = session.row();
    if ending.reason != EndReason::SubstrateDown || row.phase == Phase::Ended {
        return None;
    }
    let found = node.instances().autopsy(row.instance).await?;
    Some(Cause::found(found))
}

/// Kills a relay that answers nothing; the link notices, starts another and gives it everything.
pub(super) async fn end_hung(node: &Node) {
    match launch::kill(&node.instances().tools().paths).await {
        Ok(()) => warn!("the relay answered nobody and was killed"),
        Err(error) => warn!(%error, "the relay answers nobody and cannot be killed"),
    }
}

/// Whether a session that nobody drives needs this news no more: it has ended, or never was ours.
async fn let_go(node: &Node, session: &SessionId) -> bool {
    let known = node.journal().find(session).await;
    known.is_ok_and(|row| row.is_none_or(|row| row.phase == Phase::Ended))
}

/// Gives a relay everything that it should hold and does not: it is new, or it lost something.
async fn give_back(node: &Node, relay: &RelayClient) {
    if let Err(error) = node.fence().await {
        warn!(%error, "the relay does not know until when egress is open");
    }
    // Before the question: a session that is bound after the answer is no lost one.
    let sessions: Vec<_> = node.sessions().all();
    let sessions = sessions.into_iter().map(|session| (session.row(), session));
    let sessions: Vec<_> = sessions.collect();
    let inventory = match relay.list().await {
        Ok(inventory) => inventory,
        Err(error) => {
            warn!(%error, "the relay cannot be asked what it holds");
            return;
        }
    };
    let restores = FuturesUnordered::new();
    for (row, session) in sessions {
        let known = inventory.ended.iter().any(|ended| ended.session == row.id)
            || inventory
                .held
                .iter()
                .any(|held| held.session.as_ref() == Some(&row.id));
        match row.phase {
            Phase::Creating if !known => {
                if let Err(error) = relay.expect(&session::expected(&row)).await {
                    debug!(session = %row.id, %error, "not expected again");
                }
            }
            Phase::Ready if !known => {
                if let Some(instance) = node.instances().get(row.instance)
                    && matches!(instance.view(), View::Bound(_))
                {
                    restores.push(restart::restore(instance, session));
                }
            }
            Phase::Creating | Phase::Ready | Phase::Closing | Phase::Ended => {}
        }
    }
    restores.collect::<()>().await;
}
