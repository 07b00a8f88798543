//! Requests of the wire become the model's values here, or a sentence that names the field.

use std::time::Duration;

use tonic::Status;

use super::egress;
use crate::{
    model::{EndReason, SessionId, SessionSpec, Substrate},
    profile::{self, Catalogue},
    wire::node as pb,
};

/// What a node grants at most; the public API is narrower.
const TTL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
const IDLE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
pub(super) const MAX_LABELS: usize = 32;
pub(super) const MAX_LABEL: usize = 256;
const MAX_TOKEN: usize = 256;

pub(super) fn invalid(field: &str, allowed: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("`{field}` must be {allowed}"))
}

/// A session id.
pub(super) fn session_id(text: &str) -> Result<SessionId, Status> {
    text.parse()
        .map_err(|error| Status::invalid_argument(format!("{error}")))
}

/// An order; `idle_default` stands in where it does not say how long a session may be idle.
pub(super) fn spec(
    spec: Option<pb::SessionSpec>,
    profiles: &Catalogue,
    idle_default: Duration,
) -> Result<SessionSpec, Status> {
    let spec = spec.ok_or_else(|| invalid("spec", "given"))?;
    let substrate = match pb::Substrate::try_from(spec.substrate) {
        Ok(pb::Substrate::Unspecified | pb::Substrate::Chromium) => Substrate::Chromium,
        Ok(pb::Substrate::Emulator) => Substrate::Emulator,
        Ok(pb::Substrate::Redroid) => Substrate::Redroid,
        Ok(pb::Substrate::Cuttlefish) => Substrate::Cuttlefish,
        Err(_unknown) => {
            return Err(invalid(
                "spec.substrate",
                "SUBSTRATE_CHROMIUM, SUBSTRATE_EMULATOR, SUBSTRATE_REDROID or SUBSTRATE_CUTTLEFISH",
            ));
        }
    };
    let profile = if spec.profile.is_empty() {
        profile::DEFAULT.to_owned()
    } else {
        spec.profile
    };
    if profiles.named(&profile).is_none() {
        let names = profiles.names().join(", ");
        return Err(invalid(
            "spec.profile",
            format_args!("one of: {names}; not `{profile}`"),
        ));
    }
    let ttl = spec
        .ttl
        .and_then(|ttl| Duration::try_from(ttl).ok())
        .filter(|ttl| TTL.contains(ttl))
        .ok_or_else(|| invalid("spec.ttl", "between 1 s and 24 h"))?;
    let idle_timeout = match spec.idle_timeout {
        None => idle_default,
        Some(idle) => Duration::try_from(idle)
            .ok()
            .filter(|idle| IDLE.contains(idle))
            .ok_or_else(|| invalid("spec.idle_timeout", "between 1 s and 24 h"))?,
    };
    let labels_fit = spec.labels.len() <= MAX_LABELS
        && spec
            .labels
            .iter()
            .all(|(key, value)| !key.is_empty() && key.len() + value.len() <= MAX_LABEL);
    if !labels_fit {
        return Err(invalid(
            "spec.labels",
            format_args!("at most {MAX_LABELS} labels of at most {MAX_LABEL} bytes each"),
        ));
    }
    if spec.cdp_token.len() > MAX_TOKEN {
        return Err(invalid(
            "spec.cdp_token",
            format_args!("at most {MAX_TOKEN} bytes"),
        ));
    }
    Ok(SessionSpec {
        substrate,
        profile,
        ttl,
        idle_timeout,
        labels: spec.labels.into_iter().collect(),
        cdp_token: (!spec.cdp_token.is_empty()).then_some(spec.cdp_token),
        egress: egress::wish(spec.egress.unwrap_or_default())?,
    })
}

/// Why a caller ends a session. The words that only a node itself may use are refused.
pub(super) fn end_reason(reason: i32) -> Result<EndReason, Status> {
    match pb::EndReason::try_from(reason) {
        Ok(pb::EndReason::Unspecified | pb::EndReason::ClientDelete) => Ok(EndReason::ClientDelete),
        Ok(pb::EndReason::TtlExpired) => Ok(EndReason::TtlExpired),
        Ok(pb::EndReason::AbandonedOrphan) => Ok(EndReason::AbandonedOrphan),
        Ok(
            pb::EndReason::IdleExpired
            | pb::EndReason::SubstrateDown
            | pb::EndReason::QuotaExceeded
            | pb::EndReason::Error,
        )
        | Err(_) => Err(invalid(
            "reason",
            "END_REASON_CLIENT_DELETE, END_REASON_TTL_EXPIRED or END_REASON_ABANDONED_ORPHAN",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> pb::SessionSpec {
        pb::SessionSpec {
            ttl: Some(prost_types::Duration {
                seconds: 60,
                nanos: 0,
            }),
            ..pb::SessionSpec::default()
        }
    }

    fn refusal(order: pb::SessionSpec) -> String {
        spec(
            Some(order),
            &Catalogue::built_in(),
            Duration::from_secs(300),
        )
        .unwrap_err()
        .message()
        .to_owned()
    }

    #[test]
    fn an_order_needs_no_more_than_a_ttl() {
        let profiles = Catalogue::built_in();
        let spec = spec(Some(order()), &profiles, Duration::from_secs(300)).unwrap();
        assert_eq!(spec.profile, "default");
        assert_eq!(spec.ttl, Duration::from_secs(60));
        assert_eq!(spec.idle_timeout, Duration::from_secs(300));
    }

    #[test]
    fn every_refusal_names_its_field() {
        let no_ttl = pb::SessionSpec {
            ttl: None,
            ..order()
        };
        assert!(refusal(no_ttl).contains("`spec.ttl`"));
        let profile = pb::SessionSpec {
            profile: "nokia-3310".to_owned(),
            ..order()
        };
        let said = refusal(profile);
        assert!(
            said.contains("`spec.profile`") && said.contains("default"),
            "{said}"
        );
        let idle = pb::SessionSpec {
            idle_timeout: Some(prost_types::Duration::default()),
            ..order()
        };
        assert!(refusal(idle).contains("`spec.idle_timeout`"));
        let token = pb::SessionSpec {
            cdp_token: "x".repeat(257),
            ..order()
        };
        assert!(refusal(token).contains("`spec.cdp_token`"));
    }

    #[test]
    fn a_caller_cannot_claim_a_substrate_failure() {
        end_reason(pb::EndReason::SubstrateDown.into()).unwrap_err();
        assert_eq!(end_reason(0).unwrap(), EndReason::ClientDelete);
    }
}
