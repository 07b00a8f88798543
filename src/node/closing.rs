//! Ending what cannot be ended as usual.

use std::time::Duration;

use time::OffsetDateTime;
use tracing::warn;

use super::{Node, reconcile::When};
use crate::{
    journal::SessionRow,
    model::{Blame, EndReason, Ending},
    runtime::{boot_now, wall_now},
    session::Session,
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Ends a session that was over before anybody could end it: its container is killed first, and it
/// has ended at the time when it should have. Keeps trying while Docker does not
/// answer; false when the process stopped before that was journalled.
pub(super) async fn end_in_the_past(
    node: &Node,
    session: &Session,
    reason: EndReason,
    when: When,
) -> bool {
    let mut pause = FIRST_PAUSE;
    while let Err(error) = node.instances().kill(session.row().instance).await {
        warn!(session = %session.row().id, %error, "its browser cannot be killed yet");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    let row = node.sessions().live(&session.row());
    let detail = match when {
        When::Now => None,
        When::Deadline => Some("its time ran out while neither agent nor relay ran".to_owned()),
        When::LastBoot => Some("the host was restarted".to_owned()),
    };
    let ending = Ending {
        reason,
        at: moment(&row, when, wall_now(), up_for()),
        traffic: row.traffic,
        detail,
        blame: (when == When::LastBoot).then_some(Blame::Host),
    };
    session.cut(ending).await
}

/// How long this boot has lasted; nothing where the clock cannot be read.
fn up_for() -> Duration {
    boot_now().map_or(Duration::ZERO, |now| Duration::from_micros(now.micros))
}

fn moment(row: &SessionRow, when: When, now: OffsetDateTime, up_for: Duration) -> OffsetDateTime {
    let ended = match when {
        When::Now => now,
        When::Deadline => row.expires_at,
        // Later than the last sign of life, earlier than anything of this boot.
        When::LastBoot => (now - up_for).min(row.expires_at),
    };
    ended.clamp(row.created_at, now.max(row.created_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{BootInstant, EgressWish, InstanceId, Phase, SessionId, SessionSpec, Substrate},
        runtime::boot_id,
    };

    const HOUR: Duration = Duration::from_secs(3600);

    fn row(created_at: OffsetDateTime, ttl: Duration) -> SessionRow {
        let spec = SessionSpec {
            substrate: Substrate::Chromium,
            profile: "default".to_owned(),
            ttl,
            idle_timeout: HOUR,
            labels: std::collections::BTreeMap::new(),
            cdp_token: None,
            egress: EgressWish::default(),
        };
        let ids = (SessionId::random(), InstanceId::random());
        let boot = BootInstant {
            boot: boot_id().unwrap(),
            micros: 0,
        };
        SessionRow {
            phase: Phase::Ready,
            ready_at: Some(created_at),
            deadline: boot,
            ..SessionRow::ordered(ids, spec, (created_at, boot))
        }
    }

    #[test]
    fn a_missed_end_is_dated_when_it_was_due_and_never_in_the_future_or_before_the_order() {
        let now = wall_now();
        let made = now - 3 * HOUR;
        let at = |row: &SessionRow, when, up_for| moment(row, when, now, up_for);
        let short = row(made, HOUR);
        assert_eq!(at(&short, When::Deadline, HOUR), made + HOUR);
        assert_eq!(at(&short, When::Now, HOUR), now);
        // The host went down an hour ago; a session whose time ran out before ended by then.
        assert_eq!(at(&row(made, 3 * HOUR), When::LastBoot, HOUR), now - HOUR);
        assert_eq!(at(&short, When::LastBoot, HOUR), made + HOUR);
        // The wall clock was set back, or forth.
        assert_eq!(at(&row(made, HOUR), When::LastBoot, 9 * HOUR), made);
        assert_eq!(at(&row(now + HOUR, HOUR), When::LastBoot, HOUR), now + HOUR);
        assert_eq!(at(&row(made, 9 * HOUR), When::Deadline, HOUR), now);
    }
}
