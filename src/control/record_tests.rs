use proptest::prelude::*;

use super::*;
use crate::model::Blame;

const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn ordered() -> Record {
    let ttl = Duration::from_secs(60);
    Record {
        id: SessionId::random(),
        workspace: Workspace::standard(),
        profile: "default".to_owned(),
        ttl,
        status: Status::Creating,
        device: None,
        traffic: Traffic::default(),
        egress_ip: None,
        egress_region: None,
        created_at: START,
        ready_at: None,
        expires_at: START + ttl,
        ended_at: None,
        failure: None,
        billable: false,
    }
}

fn news(id: &SessionId, phase: Phase, reason: Option<EndReason>, bytes: u64) -> Sighting {
    let ended = phase == Phase::Ended;
    let traffic = Traffic {
        up: bytes,
        ..Traffic::default()
    };
    Sighting {
        id: id.clone(),
        phase,
        reason,
        failure: (reason == Some(EndReason::Error)).then(|| Failure {
            code: "image_missing".to_owned(),
            message: "no image".to_owned(),
            blame: Blame::Host,
        }),
        device: None,
        traffic,
        egress_ip: None,
        egress_region: None,
        ready_at: (phase >= Phase::Ready && reason != Some(EndReason::Error)).then_some(START),
        ended_at: ended.then_some(START),
        billable: reason.is_some_and(EndReason::billable),
    }
}

#[test]
fn a_session_that_failed_is_an_error_and_any_other_end_is_closed() {
    let record = ordered();
    for reason in EndReason::ALL {
        let ended = record
            .fold(&news(&record.id, Phase::Ended, Some(reason), 7))
            .unwrap();
        let expected = if reason == EndReason::Error {
            Status::Error
        } else {
            Status::Closed(reason)
        };
        assert_eq!(ended.status, expected);
        assert_eq!(ended.failure.is_some(), reason == EndReason::Error);
        assert_eq!(ended.traffic.up, 7);
    }
}

#[test]
fn closing_is_not_public() {
    let record = ordered();
    let closing = news(&record.id, Phase::Closing, None, 0);
    assert_eq!(record.fold(&closing).unwrap().status, Status::Ready);
    let early = Sighting {
        ready_at: None,
        ..closing
    };
    assert_eq!(record.fold(&early), None);
}

#[test]
fn news_of_another_session_change_nothing() {
    let record = ordered();
    let other = news(&SessionId::random(), Phase::Ended, None, 1);
    assert_eq!(record.fold(&other), None);
}

fn any_news() -> impl Strategy<Value = (Phase, Option<EndReason>, u64)> {
    let phase = prop::sample::select(vec![
        Phase::Creating,
        Phase::Ready,
        Phase::Closing,
        Phase::Ended,
    ]);
    let reason = prop::sample::select(EndReason::ALL.to_vec());
    (phase, reason, 0u64..100).prop_map(|(phase, reason, bytes)| {
        let reason = (phase == Phase::Ended).then_some(reason);
        (phase, reason, bytes)
    })
}

const fn rank(status: Status) -> u8 {
    match status {
        Status::Creating => 0,
        Status::Ready => 1,
        Status::Closed(_) | Status::Error => 2,
    }
}

proptest! {
    #[test]
    fn news_in_any_order_never_go_backwards_and_the_first_end_stays(
        stream in prop::collection::vec(any_news(), 0..20),
    ) {
        let mut record = ordered();
        for (phase, reason, bytes) in stream {
            let item = news(&record.id, phase, reason, bytes);
            let Some(next) = record.fold(&item) else { continue };
            prop_assert!(!record.status.is_terminal());
            prop_assert!(rank(next.status) >= rank(record.status));
            prop_assert!(next.traffic.up >= record.traffic.up);
            prop_assert_eq!(next.fold(&item), None, "the same news twice");
            record = next;
        }
    }
}
