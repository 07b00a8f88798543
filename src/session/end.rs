//! Who decides how a session ended, and with which bytes.
//!
//! The relay, wherever it can be asked: its answer is a compare-and-set over everybody who wants an
//! end. Where it cannot, or never heard of the session, the agent decides; then the instance's init
//! must be dead before the bytes are final, and the agent reads the counters file itself.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Cause, Ground, Outcome, driver::Stopped};
use crate::{
    journal::SessionRow,
    model::{EndReason, Ending, Why},
    relay::client::RelayError,
    runtime::wall_now,
    traces::Trace,
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Somebody wants a session to end.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) reason: EndReason,
    /// What was seen, for operators.
    pub(super) detail: Option<String>,
    /// What the node knows beyond that.
    pub(super) cause: Option<Cause>,
    /// Who waits for the outcome.
    pub(super) done: Option<oneshot::Sender<Outcome>>,
    /// Whose wish it is.
    pub(super) trace: Trace,
}

impl Asked {
    pub(super) const fn quietly(reason: EndReason) -> Self {
        Self {
            reason,
            detail: None,
            cause: None,
            done: None,
            trace: Trace::none(),
        }
    }

    pub(super) const fn because(reason: EndReason, detail: String) -> Self {
        Self {
            reason,
            detail: Some(detail),
            cause: None,
            done: None,
            trace: Trace::none(),
        }
    }

    pub(super) fn for_cause(cause: Cause) -> Self {
        Self {
            reason: EndReason::SubstrateDown,
            detail: Some(cause.saw.clone()),
            cause: Some(cause),
            done: None,
            trace: Trace::none(),
        }
    }
}

/// The ending of `row`, once traffic is cut. Keeps trying while neither the relay nor Docker answers.
pub(super) async fn decide<G: Ground>(
    ground: &G,
    row: &SessionRow,
    (reason, why): (EndReason, &Why),
    bound: bool,
    stop: &CancellationToken,
) -> Result<Ending, Stopped> {
    let mut pause = FIRST_PAUSE;
    loop {
        let refused = match ground.end(&row.id, reason, why).await {
            Ok(ending) => return Ok(ending),
            Err(error) => error,
        };
        if !bound {
            // The relay never gave it anything to send with; its instance is destroyed next.
            return Ok(decided(ground, row, reason, why));
        }
        if !matches!(refused, RelayError::Unknown(_)) {
            warn!(session = %row.id, error = %refused, "the agent ends the session by itself");
        }
        match ground.kill(row.instance).await {
            Ok(()) => return Ok(decided(ground, row, reason, why)),
            Err(error) => warn!(session = %row.id, %error, "its browser cannot be killed yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Err(Stopped),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn decided<G: Ground>(ground: &G, row: &SessionRow, reason: EndReason, why: &Why) -> Ending {
    let sample = ground.sample(row.instance).unwrap_or_default();
    Ending {
        reason,
        at: wall_now(),
        traffic: row.traffic.max(sample),
        detail: why.detail.clone(),
        blame: why.blame,
    }
}
