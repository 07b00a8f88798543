//! Whether and when a client may enter its session.
//!
//! A client that comes early waits here, before the 101: only then can it still be told why not.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::refusal::Refusal;
use crate::{
    model::EndReason,
    relay::{Live, SessionView},
    runtime::boot_now,
};

/// What the door says now.
enum Answer {
    Enter(Arc<Live>),
    /// Not yet; no longer than this.
    Wait(Duration),
}

/// Waits until the session is live, no longer than `hold`. Cancel-safe.
pub(super) async fn enter(
    view: &mut watch::Receiver<SessionView>,
    token: Option<&[u8]>,
    hold: Duration,
) -> Result<Arc<Live>, Refusal> {
    let patience = Instant::now() + hold;
    let mut held = false;
    loop {
        let answer = ask(&view.borrow_and_update(), token, held)?;
        let wait = match answer {
            Answer::Enter(live) => return Ok(live),
            Answer::Wait(wait) => wait,
        };
        held = true;
        let until = patience.min(Instant::now() + wait);
        match timeout_at(until, view.changed()).await {
            Ok(Ok(())) => {}
            // Whoever made the session has dropped it without a word.
            Ok(Err(_gone)) => return Err(Refusal::Failed),
            Err(_elapsed) => return Err(Refusal::HeldTooLong),
        }
    }
}

fn ask(view: &SessionView, token: Option<&[u8]>, held: bool) -> Result<Answer, Refusal> {
    match view {
        SessionView::Expected {
            until,
            token: wanted,
        } => {
            check(token, wanted.as_ref())?;
            let left = boot_now().ok().and_then(|now| until.until(now));
            Ok(Answer::Wait(left.unwrap_or_default()))
        }
        SessionView::Live(live) => {
            check(token, live.token.as_ref())?;
            Ok(Answer::Enter(Arc::clone(live)))
        }
        SessionView::Cutting(reason) => Err(over(*reason, held)),
        SessionView::Ended(ending) => Err(over(ending.reason, held)),
    }
}

const fn over(reason: EndReason, held: bool) -> Refusal {
    match reason {
        // To whoever waited for it, a session that failed was never there; trying again may help.
        EndReason::Error if held => Refusal::Failed,
        EndReason::Error
        | EndReason::ClientDelete
        | EndReason::TtlExpired
        | EndReason::IdleExpired
        | EndReason::AbandonedOrphan
        | EndReason::SubstrateDown
        | EndReason::QuotaExceeded => Refusal::Ended(reason),
    }
}

/// In constant time, but for the length.
fn check(given: Option<&[u8]>, wanted: Option<&SecretString>) -> Result<(), Refusal> {
    let Some(wanted) = wanted else {
        return Ok(());
    };
    let wanted = wanted.expose_secret().as_bytes();
    let same = given.unwrap_or_default().ct_eq(wanted);
    if bool::from(same) {
        Ok(())
    } else {
        Err(Refusal::Unauthorised)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Ending, Traffic},
        runtime::wall_now,
    };

    fn expected(seconds: u64, token: Option<&str>) -> SessionView {
        SessionView::Expected {
            until: boot_now().unwrap().after(Duration::from_secs(seconds)),
            token: token.map(SecretString::from),
        }
    }

    fn ended(reason: EndReason) -> SessionView {
        SessionView::Ended(Ending {
            reason,
            at: wall_now(),
            traffic: Traffic::default(),
            detail: None,
            blame: None,
        })
    }

    async fn outcome(
        first: SessionView,
        then: Option<SessionView>,
        token: Option<&[u8]>,
    ) -> Refusal {
        let (sender, mut view) = watch::channel(first);
        let turn = async {
            tokio::task::yield_now().await;
            if let Some(then) = then {
                sender.send_replace(then);
            } else {
                sender.closed().await;
            }
        };
        let entering = enter(&mut view, token, Duration::from_secs(60));
        tokio::select! {
            biased;
            entered = entering => entered.unwrap_err(),
            () = async { turn.await; std::future::pending().await } => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_held_hear_why_they_cannot_enter() {
        let hold = || expected(60, None);
        assert_eq!(outcome(hold(), None, None).await, Refusal::HeldTooLong);
        let failed = Some(ended(EndReason::Error));
        assert_eq!(outcome(hold(), failed, None).await, Refusal::Failed);
        let deleted = Some(SessionView::Cutting(EndReason::ClientDelete));
        let reason = Refusal::Ended(EndReason::ClientDelete);
        assert_eq!(outcome(hold(), deleted, None).await, reason);
        let late = outcome(ended(EndReason::Error), None, None).await;
        assert_eq!(late, Refusal::Ended(EndReason::Error));
    }

    #[tokio::test]
    async fn a_wrong_token_is_not_even_held() {
        for token in [None, Some(&b"secreT"[..]), Some(&b"secret1"[..])] {
            let refused = outcome(expected(60, Some("secret")), None, token).await;
            assert_eq!(refused, Refusal::Unauthorised);
        }
        let right = outcome(expected(0, Some("secret")), None, Some(b"secret")).await;
        assert_eq!(right, Refusal::HeldTooLong);
    }
}
