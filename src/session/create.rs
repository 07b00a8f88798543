//! From an order to a served session: what the driver does before `Ready`.
//!
//! A session that was granted a parked instance claims it: its own journal row and one `Bind`, and it
//! is ready before anybody is answered, so nobody can be early. Where the instance turns out to be
//! none any more, the session goes the way of all others: one is made for it. A session that was granted a
//! boot which was under way waits for it as for its own, and fails as it fails.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tracing::{Instrument, debug_span, warn};

use super::{
    Ground,
    driver::{Driver, Stopped, failure},
    end::Asked,
    machine::{Input, State},
};
use crate::{
    instance::Phone,
    journal::{InstanceRow, JournalError, LeaseRow, SessionRow, Under},
    model::{Blame, EndReason, InstanceId, Phase},
    relay::{
        Way,
        client::{Bind, Expected, RelayError},
    },
    runtime::{Step, failpoint, wall_now},
    traces::Trace,
};

/// A relay that was just killed is back within this many tries.
const EXPECT_TRIES: u32 = 8;
const EXPECT_PAUSE: Duration = Duration::from_millis(500);

/// What a fresh session brings beside its row.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) under: Under,
    pub(super) lease: Option<LeaseRow>,
    /// Told once the order is journalled and early clients are held or served, or that it could not be.
    pub(super) accepted: Told,
    /// Whose order it is.
    pub(super) trace: Trace,
}

type Told = watch::Sender<Option<Result<(), JournalError>>>;

impl<G: Ground> Driver<G> {
    pub(super) async fn create(&mut self, fresh: Fresh) -> Result<(), Stopped> {
        let Fresh {
            under,
            lease,
            accepted,
            trace: _,
        } = fresh;
        let begun = Instant::now();
        let order = self.journal.order(self.row.clone(), under.clone(), lease);
        let order = order.instrument(debug_span!("journal order"));
        let ordered = self.ground.steps().time(journalling(&under), order).await;
        if let Err(error) = ordered {
            // Nothing is known of it: it never was.
            accepted.send_replace(Some(Err(error)));
            self.ground.release(self.row.instance, None).await;
            return Err(Stopped);
        }
        failpoint(format_args!("session ordered"));
        self.publish();
        match under {
            Under::Fresh(instance) => {
                self.ground.start(instance);
                self.wait(accepted, begun).await
            }
            Under::Booting(_) => self.wait(accepted, begun).await,
            Under::Parked(_) if self.claim().await? => {
                let steps = self.ground.steps();
                steps.took(Step::ClaimWhole, begun.elapsed());
                accepted.send_replace(Some(Ok(())));
                Ok(())
            }
            Under::Parked(parked) => match self.instead(parked).await {
                Ok(instance) => {
                    self.ground.start(instance);
                    self.wait(accepted, begun).await
                }
                Err(error) => {
                    accepted.send_replace(Some(Ok(())));
                    self.fail(failure("journal_failed", error.to_string(), Blame::Agent))
                        .await
                }
            },
        }
    }

    /// Binds the parked instance that was granted; false when it is none any more.
    async fn claim(&mut self) -> Result<bool, Stopped> {
        let way = self.ground.way(&self.row).ok();
        let claimed = self.ground.claim(self.row.instance, claim(&self.row, way));
        let claimed = claimed.instrument(debug_span!("bind"));
        if let Err(error) = self.ground.steps().time(Step::ClaimBind, claimed).await {
            warn!(session = %self.row.id, instance = %self.row.instance, %error,
                "the parked browser cannot be claimed; another is started");
            return Ok(false);
        }
        self.row.ready_at = Some(wall_now());
        self.step(Input::Provisioned, None).await?;
        Ok(true)
    }

    /// Another instance in place of a parked one that cannot be had, with its address.
    async fn instead(&mut self, parked: InstanceId) -> Result<InstanceRow, JournalError> {
        let fresh = InstanceRow::new(InstanceId::random(), self.row.spec.profile.clone(), None)
            .on(self.row.spec.substrate);
        self.ground.instead(parked, fresh.id).await?;
        self.row.instance = fresh.id;
        self.row.device = None;
        self.row.browser_version = None;
        self.row.capabilities = None;
        let under = Under::Fresh(fresh.clone());
        self.journal.order(self.row.clone(), under, None).await?;
        self.publish();
        Ok(fresh)
    }

    /// Waits for the instance that is being made; the order is acknowledged as soon as early clients are
    /// held.
    async fn wait(&mut self, accepted: Told, begun: Instant) -> Result<(), Stopped> {
        let steps = self.ground.steps();
        let expected = steps.time(Step::ProvisionExpect, self.expect()).await;
        failpoint(format_args!("session expected"));
        accepted.send_replace(Some(Ok(())));
        if let Err(error) = expected {
            let why = failure("relay_unreachable", error.to_string(), Blame::Agent);
            return self.fail(why).await;
        }
        self.provision().await?;
        if self.state == State::Ready {
            let steps = self.ground.steps();
            steps.took(Step::ProvisionWhole, begun.elapsed());
        }
        Ok(())
    }

    async fn expect(&self) -> Result<(), RelayError> {
        let mut tries = 1;
        loop {
            match self.ground.expect(&self.row).await {
                Err(RelayError::Unreachable(_)) if tries < EXPECT_TRIES => tries += 1,
                outcome => return outcome,
            }
            tokio::time::sleep(EXPECT_PAUSE).await;
        }
    }

    /// Waits for the instance; until it is bound the agent itself watches the ttl.
    async fn provision(&mut self) -> Result<(), Stopped> {
        let deadline = Instant::now() + self.time_left();
        let ground = Arc::clone(&self.ground);
        let mut parked = Box::pin(ground.parked(self.row.instance));
        while self.state == State::Creating {
            tokio::select! {
                outcome = &mut parked => return match outcome {
                    Ok(phone) => self.bind(phone).await,
                    Err(Some(failure)) => self.fail(failure).await,
                    Err(None) => self.fail(failure(
                        "called_off",
                        "the instance went away while it was made".to_owned(),
                        Blame::Agent,
                    )).await,
                },
                progress = ground.progress(self.row.instance, self.progress.as_ref()) => {
                    self.progress = progress;
                    self.tell(&self.row);
                }
                () = tokio::time::sleep_until(deadline) => {
                    self.finish(Asked::quietly(EndReason::TtlExpired)).await?;
                }
                order = self.orders.recv() => self.follow(order).await?,
                () = self.stop.cancelled() => return Err(Stopped),
            }
        }
        Ok(())
    }

    async fn bind(&mut self, phone: Phone) -> Result<(), Stopped> {
        self.row.device = Some(phone.device);
        self.row.browser_version = Some(phone.version);
        self.row.capabilities = phone.capabilities;
        let way = match self.ground.way(&self.row) {
            Ok(way) => way,
            Err(lost) => {
                let why = failure("route_lost", lost.to_string(), Blame::Host);
                return self.fail(why).await;
            }
        };
        let bind = claim(&self.row, Some(way));
        let bound = self.ground.bind(self.row.instance, bind);
        match self.ground.steps().time(Step::ProvisionBind, bound).await {
            Ok(()) => {
                self.row.ready_at = Some(wall_now());
                self.step(Input::Provisioned, None).await
            }
            Err(error) => {
                self.fail(failure("bind_failed", error.to_string(), Blame::Agent))
                    .await
            }
        }
    }
}

const fn journalling(under: &Under) -> Step {
    match under {
        Under::Fresh(_) | Under::Booting(_) => Step::ProvisionJournal,
        Under::Parked(_) => Step::ClaimJournal,
    }
}

/// The row as it will be once it is bound: what a journal that was lost is rebuilt from.
fn record(row: &SessionRow) -> Vec<u8> {
    let bound = SessionRow {
        phase: Phase::Ready,
        ready_at: row.ready_at.or_else(|| Some(wall_now())),
        ..row.clone()
    };
    // A row is plain data: writing it as JSON cannot fail, and an empty record is only poorer.
    serde_json::to_vec(&bound).unwrap_or_default()
}

/// A session as the relay is told to expect it.
#[must_use]
pub fn expected(row: &SessionRow) -> Expected {
    Expected {
        session: row.id.clone(),
        until: row.deadline,
        token: row.spec.cdp_token.clone().map(Into::into),
    }
}

/// The claim of a session on its instance, as the relay gets it, with the way that its route leads.
#[must_use]
pub fn claim(row: &SessionRow, way: Option<Way>) -> Bind {
    Bind {
        session: row.id.clone(),
        instance: row.instance,
        way,
        deadline: row.deadline,
        idle_timeout: row.spec.idle_timeout,
        token: row.spec.cdp_token.clone().map(Into::into),
        record: record(row),
        used: row.traffic,
        reroute: false,
    }
}
