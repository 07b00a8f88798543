//! Egress routes on the wire.

use std::{collections::HashMap, time::Duration};

use super::convert::{timestamp, traffic};
use crate::{
    relay::client::Look,
    routes::{Fault, Health, Occupancy, State},
    runtime::wall_now,
    session::Carried,
    wire::node as pb,
};

/// One route as it is now, and what it has carried.
pub(super) fn route((of, carried): (Occupancy, Carried)) -> pb::EgressRoute {
    let now = wall_now();
    let (served, failed) = of.health.counts();
    let state = match of.state {
        _ if of.drained => "drained",
        _ if !of.usable => "gone",
        State::Quarantined(_) => "quarantined",
        State::OnTrial => "on_trial",
        State::Well => "well",
    };
    let until = match of.state {
        State::Quarantined(left) => Some(timestamp(now + left)),
        State::Well | State::OnTrial => None,
    };
    pb::EgressRoute {
        name: of.route.name.clone(),
        description: of.route.describe(),
        region: of.route.place.label(),
        tags: of.route.tags.iter().cloned().collect(),
        cost: of.route.cost.clone(),
        capacity: of.route.sessions,
        sessions: u32::try_from(of.standing.held).unwrap_or(u32::MAX),
        resting_until: of.standing.resting.map(|left| timestamp(now + left)),
        state: state.to_owned(),
        fault: of.health.last().map_or("", Fault::as_str).to_owned(),
        quarantined_until: until,
        exit_ip: of.exit_ip.map_or_else(String::new, |ip| ip.to_string()),
        served,
        failed,
        time_zone: of.route.place.time_zone.clone(),
        locale: of.route.place.locale.clone(),
        traffic: Some(traffic(carried.traffic)),
        faults: faults(&of.health),
        target_failed: of.health.targets(),
    }
}

/// Connections that failed by a route's fault, by what was wrong.
pub(super) fn faults(of: &Health) -> HashMap<String, u64> {
    let each = of.faults();
    each.map(|(fault, count)| (fault.to_string(), count))
        .collect()
}

/// What a look at a route showed.
pub(super) fn checked((look, took): (Look, Duration)) -> pb::CheckRouteResponse {
    let took = prost_types::Duration::try_from(took).ok();
    match look {
        Look::Works { body, status, .. } => {
            let text = str::from_utf8(&body).unwrap_or_default().trim();
            let exit: Option<std::net::IpAddr> = text.parse().ok();
            pb::CheckRouteResponse {
                works: true,
                status,
                exit_ip: exit.map_or_else(String::new, |ip| ip.to_string()),
                took,
                ..pb::CheckRouteResponse::default()
            }
        }
        Look::Refused { reason, detail } => pb::CheckRouteResponse {
            reason,
            detail,
            took,
            ..pb::CheckRouteResponse::default()
        },
    }
}
