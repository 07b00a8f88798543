use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{
    model::{EgressWish, EndReason, Ending, SessionId, SessionSpec, Substrate, Traffic},
    relay::client::Held,
    runtime::boot_now,
};

fn row(instance: InstanceId) -> SessionRow {
    let ttl = Duration::from_secs(600);
    let spec = SessionSpec {
        substrate: Substrate::Chromium,
        profile: "default".to_owned(),
        ttl,
        idle_timeout: ttl,
        labels: BTreeMap::new(),
        cdp_token: None,
        egress: EgressWish::default(),
    };
    let ids = (SessionId::random(), instance);
    let now = (wall_now(), boot_now().unwrap());
    SessionRow {
        phase: Phase::Ready,
        egress: Some([127, 0, 0, 2].into()),
        ready_at: Some(now.0),
        ..SessionRow::ordered(ids, spec, now)
    }
}

fn record(row: &SessionRow) -> Vec<u8> {
    serde_json::to_vec(row).unwrap()
}

fn ended(row: &SessionRow, at: OffsetDateTime) -> Ended {
    Ended {
        seq: 1,
        session: row.id.clone(),
        instance: Some(row.instance),
        ending: Ending {
            reason: EndReason::TtlExpired,
            at,
            traffic: Traffic::default(),
            detail: None,
            blame: None,
        },
        record: record(row),
    }
}

#[test]
fn a_record_counts_only_for_the_container_that_it_names_and_only_once_it_was_bound() {
    let instance = InstanceId::random();
    let good = row(instance);
    assert_eq!(valid(instance, &record(&good)), Some(good.clone()));
    assert_eq!(valid(InstanceId::random(), &record(&good)), None);
    let creating = SessionRow {
        phase: Phase::Creating,
        ..good
    };
    assert_eq!(valid(instance, &record(&creating)), None);
    assert_eq!(valid(instance, b"{}"), None);
    assert_eq!(valid(instance, b""), None);
}

#[test]
fn the_relay_knows_better_than_its_files() {
    let instance = InstanceId::random();
    let (old, new) = (row(instance), row(instance));
    let inventory = Inventory {
        held: vec![Held {
            instance,
            session: Some(new.id.clone()),
            record: record(&new),
            product: String::new(),
            supervised: true,
        }],
        ..Inventory::default()
    };
    let on_disk = || vec![(instance, record(&old))];
    assert_eq!(claims(on_disk(), None).get(&instance), Some(&old));
    let both = claims(on_disk(), Some(&inventory));
    assert_eq!(both.get(&instance), Some(&new));
}

#[test]
fn an_ending_is_told_again_only_where_it_cannot_have_been_forgotten() {
    let row = row(InstanceId::random());
    let (now, hour) = (wall_now(), Duration::from_secs(3600));
    assert_eq!(told(&ended(&row, now), now - hour), Some(row.clone()));
    assert_eq!(told(&ended(&row, now - 2 * hour), now - hour), None);
    let other = Ended {
        session: SessionId::random(),
        ..ended(&row, now)
    };
    assert_eq!(told(&other, now - hour), None);
}
