//! The node's messages in the model's words.

use prost_types::Timestamp;
use time::OffsetDateTime;

use super::{News, NodeError};
use crate::{
    control::{Live, Sighting},
    model::{
        Blame, Bounds, Capabilities, EgressWish, EndReason, Failure, HostTraffic, Limits, Phase,
        Progress, SessionSpec, Substrate, Targets, Traffic, Written,
    },
    wire::node as pb,
};

fn broken(what: &str) -> NodeError {
    NodeError::Broken(format!("its answer has no valid {what}"))
}

pub(super) fn spec(spec: &SessionSpec) -> pb::SessionSpec {
    let duration = |value| prost_types::Duration::try_from(value).ok();
    pb::SessionSpec {
        substrate: match spec.substrate {
            Substrate::Chromium => pb::Substrate::Chromium.into(),
            Substrate::Emulator => pb::Substrate::Emulator.into(),
            Substrate::Redroid => pb::Substrate::Redroid.into(),
            Substrate::Cuttlefish => pb::Substrate::Cuttlefish.into(),
        },
        profile: spec.profile.clone(),
        ttl: duration(spec.ttl),
        idle_timeout: duration(spec.idle_timeout),
        labels: spec.labels.clone().into_iter().collect(),
        cdp_token: spec.cdp_token.clone().unwrap_or_default(),
        egress: Some(wish_to_wire(spec.egress.clone())),
    }
}

/// What an order asks of the way out, the login of a client's own proxy included.
pub fn wish_to_wire(of: EgressWish) -> pb::EgressWish {
    pb::EgressWish {
        region: of.region,
        country: of.country,
        city: of.city,
        tags: of.tags.into_iter().collect(),
        route: of.route,
        sticky: of.sticky,
        own: of.own.map(|own| pb::OwnProxy {
            username: own.username.exposed().to_owned(),
            password: own.password.exposed().to_owned(),
            server: own.server,
        }),
        limits: Some(limits(of.limits)),
        bounds: of.bounds.into_iter().map(bounds).collect(),
    }
}

fn bounds(of: Bounds) -> pb::EgressBounds {
    let targets = |of: Targets| {
        let written = Written::from(of);
        pb::EgressTargets {
            networks: written.networks.iter().map(ToString::to_string).collect(),
            hosts: written.hosts,
            ports: written.ports.into_iter().map(u32::from).collect(),
            schemes: written.schemes,
        }
    };
    pb::EgressBounds {
        only: Some(targets(of.only)),
        never: Some(targets(of.never)),
    }
}

const fn limits(of: Limits) -> pb::EgressLimits {
    pb::EgressLimits {
        quota_bytes: of.quota_bytes,
        throttle_after_bytes: of.throttle_after_bytes,
        throttle_bytes_per_second: of.throttle_bytes_per_second,
        bytes_per_second: of.bytes_per_second,
        connections: of.connections,
        requests_per_minute: of.requests_per_minute,
    }
}

pub(super) const fn reason_to_wire(reason: EndReason) -> pb::EndReason {
    match reason {
        EndReason::ClientDelete => pb::EndReason::ClientDelete,
        EndReason::TtlExpired => pb::EndReason::TtlExpired,
        EndReason::IdleExpired => pb::EndReason::IdleExpired,
        EndReason::AbandonedOrphan => pb::EndReason::AbandonedOrphan,
        EndReason::SubstrateDown => pb::EndReason::SubstrateDown,
        EndReason::QuotaExceeded => pb::EndReason::QuotaExceeded,
        EndReason::Error => pb::EndReason::Error,
    }
}

const fn reason(reason: pb::EndReason) -> Option<EndReason> {
    match reason {
        pb::EndReason::Unspecified => None,
        pb::EndReason::ClientDelete => Some(EndReason::ClientDelete),
        pb::EndReason::TtlExpired => Some(EndReason::TtlExpired),
        pb::EndReason::IdleExpired => Some(EndReason::IdleExpired),
        pb::EndReason::AbandonedOrphan => Some(EndReason::AbandonedOrphan),
        pb::EndReason::SubstrateDown => Some(EndReason::SubstrateDown),
        pb::EndReason::QuotaExceeded => Some(EndReason::QuotaExceeded),
        pb::EndReason::Error => Some(EndReason::Error),
    }
}

fn phase(phase: pb::Phase) -> Result<Phase, NodeError> {
    match phase {
        pb::Phase::Unspecified => Err(broken("phase")),
        pb::Phase::Creating => Ok(Phase::Creating),
        pb::Phase::Ready => Ok(Phase::Ready),
        pb::Phase::Closing => Ok(Phase::Closing),
        pb::Phase::Ended => Ok(Phase::Ended),
    }
}

fn failure(failure: pb::Failure) -> Failure {
    let blame = match failure.blame() {
        pb::Blame::Client => Blame::Client,
        pb::Blame::Upstream => Blame::Upstream,
        pb::Blame::Substrate => Blame::Substrate,
        pb::Blame::Host => Blame::Host,
        pb::Blame::Agent | pb::Blame::Unspecified => Blame::Agent,
    };
    Failure {
        code: failure.code,
        message: failure.message,
        blame,
    }
}

/// A moment, cut to the microseconds that records keep.
fn moment(at: Timestamp) -> Result<OffsetDateTime, NodeError> {
    let micros = i128::from(at.seconds) * 1_000_000 + i128::from(at.nanos) / 1_000;
    OffsetDateTime::from_unix_timestamp_nanos(micros * 1_000)
        .map_err(|_out_of_range| broken("time"))
}

/// What of a session is in no sighting.
pub(super) fn live(session: pb::Session) -> Result<Live, NodeError> {
    Ok(Live {
        hosts: session.hosts.into_iter().map(host).collect(),
        progress: session.progress.map(progress).transpose()?,
        capabilities: session.capabilities.map(|of| Capabilities {
            browser_contexts: of.browser_contexts,
            downloads: of.downloads,
        }),
    })
}

fn progress(of: pb::Progress) -> Result<Progress, NodeError> {
    let limit = of.limit.and_then(|limit| limit.try_into().ok());
    Ok(Progress {
        step: of.step,
        doing: of.doing,
        since: moment(of.since.ok_or_else(|| broken("time"))?)?,
        limit: limit.ok_or_else(|| broken("duration"))?,
    })
}

fn host(of: pb::HostTraffic) -> HostTraffic {
    HostTraffic {
        host: named(of.host),
        up: of.up,
        down: of.down,
    }
}

fn named(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

pub(super) fn sighting(session: Option<pb::Session>) -> Result<Sighting, NodeError> {
    let session = session.ok_or_else(|| broken("session"))?;
    let (state, ended) = (session.phase(), session.end_reason());
    let traffic = session.traffic.unwrap_or_default();
    Ok(Sighting {
        id: session
            .id
            .parse()
            .map_err(|_invalid| broken("session id"))?,
        phase: phase(state)?,
        reason: reason(ended),
        failure: session.failure.map(failure),
        device: named(session.device),
        traffic: Traffic {
            up: traffic.up,
            down: traffic.down,
            cdp_up: traffic.cdp_up,
            cdp_down: traffic.cdp_down,
            connections: traffic.connections,
        },
        egress_ip: named(session.egress_ip),
        egress_region: named(session.egress_region),
        ready_at: session.ready_at.map(moment).transpose()?,
        ended_at: session.ended_at.map(moment).transpose()?,
        billable: session.billable,
    })
}

/// `None` for events that change no record.
pub(super) fn news(response: pb::WatchResponse) -> Result<Option<News>, NodeError> {
    use pb::{event::What, watch_response::Item};
    match response.item {
        Some(Item::Gap(_)) => Ok(Some(News::Gap)),
        Some(Item::Event(event)) => match event.what {
            Some(What::Session(session)) => {
                let sighting = sighting(Some(session))?;
                Ok(Some(News::Session(Box::new(sighting))))
            }
            Some(
                What::SubstrateDown(_)
                | What::Condition(_)
                | What::Slot(_)
                | What::Duty(_)
                | What::Rerouted(_)
                | What::Orphan(_),
            )
            | None => Ok(None),
        },
        Some(Item::Meters(_)) | None => Ok(None),
    }
}
