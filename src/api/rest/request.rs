//! What clients send, read strictly: every refusal names the field and what is allowed.

use axum::{
    body::Body,
    http::{StatusCode, header, request::Parts},
};
use http_body_util::BodyExt;
use serde_json::{Map, Value};

use super::{Rest, error::Refusal, proxy};
use crate::{
    control::{Caller, Cursor, Order},
    model::{EgressWish, Limits, Substrate},
};

/// No request of this API is longer.
const BODY_MAX: usize = 64 << 10;
/// Who sends more than this does not want an answer.
const BODY_ENOUGH: usize = 16 << 20;
const LIMIT_DEFAULT: u32 = 20;
const LIMIT_MAX: u32 = 100;

/// Whose key came with the request.
pub(super) async fn caller(rest: &Rest, parts: &Parts) -> Result<Caller, Refusal> {
    let key = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map_or("", |(_, key)| key.trim());
    Ok(rest.control.caller(key).await?)
}

/// The body of a creation; an empty one orders the defaults.
pub(super) async fn order(rest: &Rest, body: Body) -> Result<Order, Refusal> {
    let bytes = read(body).await?;
    let fields: Map<String, Value> = if bytes.iter().all(u8::is_ascii_whitespace) {
        Map::new()
    } else {
        serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::invalid(format!("the body must be a JSON object: {error}")))?
    };
    let (mut ttl, mut profile, mut egress) = (None, None, EgressWish::default());
    let (mut limited, mut substrate) = (Limits::default(), Substrate::default());
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("ttl_seconds" | "profile" | "substrate" | "proxy" | "limits", Value::Null) => {}
            ("ttl_seconds", value) => {
                let invalid = || rest.control.invalid_ttl(&value.to_string());
                ttl = Some(value.as_u64().ok_or_else(invalid)?);
            }
            ("profile", Value::String(name)) => profile = Some(name),
            ("profile", value) => {
                let message = format!("`profile` is {value}, but must be a string");
                return Err(Refusal::invalid(message));
            }
            ("substrate", value) => substrate = kind(&value)?,
            ("proxy", value) => egress = proxy::wish(value)?,
            ("limits", value) => limited = limits(value)?,
            _ => {
                let message = format!(
                    "unknown field `{name}`; allowed: ttl_seconds, profile, substrate, proxy, limits"
                );
                return Err(Refusal::invalid(message));
            }
        }
    }
    egress.limits = limited;
    let order = rest.control.order(ttl, profile)?;
    Ok(order.on(substrate).leaving(egress))
}

/// `substrate`: a browser in a container, or a kind of Android device.
fn kind(value: &Value) -> Result<Substrate, Refusal> {
    let known = value.as_str().and_then(|word| word.parse().ok());
    known.ok_or_else(|| {
        let allowed = Substrate::ALL.map(Substrate::as_str).join(", ");
        Refusal::invalid(format!(
            "`substrate` is {value}, but must be one of: {allowed}"
        ))
    })
}

/// `limits`: what the session may take of its way out.
fn limits(value: Value) -> Result<Limits, Refusal> {
    let limits: Limits = serde_json::from_value(value).map_err(|_wrong| {
        let allowed = "quota_bytes, throttle_after_bytes, throttle_bytes_per_second, \
                       bytes_per_second, connections, requests_per_minute";
        let message = format!("`limits` must be an object of numbers, 0 for none: {allowed}");
        Refusal::invalid(message)
    })?;
    limits
        .check()
        .map_err(|half| Refusal::invalid(format!("`limits`: {half}")))
}

/// Whether a creation is to be answered once the session is ready.
pub(super) fn waits(query: Vec<(String, String)>) -> Result<bool, Refusal> {
    let mut waits = false;
    for (name, value) in query {
        match (name.as_str(), value.as_str()) {
            ("wait", "ready") => waits = true,
            ("wait", _) => {
                let message = format!("`wait` is \"{value}\", but must be \"ready\"");
                return Err(Refusal::invalid(message));
            }
            _ => {
                let message = format!("unknown parameter `{name}`; allowed: wait");
                return Err(Refusal::invalid(message));
            }
        }
    }
    Ok(waits)
}

/// The body, whole. One that is too long is read on for a while and thrown away: a client that is still
/// writing when the connection closes would never see the refusal.
async fn read(mut body: Body) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Refusal::invalid("the body did not arrive whole"));
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= BODY_MAX {
            bytes.extend_from_slice(&data);
        } else if length > BODY_ENOUGH {
            break;
        }
    }
    if length <= BODY_MAX {
        return Ok(bytes);
    }
    let message = format!("the body may have at most {BODY_MAX} bytes");
    Err(Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "invalid_request",
        message,
    ))
}

/// `limit` and `cursor` of a listing.
pub(super) fn page(query: Vec<(String, String)>) -> Result<(u32, Option<Cursor>), Refusal> {
    let (mut limit, mut cursor) = (LIMIT_DEFAULT, None);
    for (name, value) in query {
        match name.as_str() {
            "limit" => {
                limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                    .ok_or_else(|| {
                        Refusal::invalid(format!(
                            "`limit` must be a whole number from 1 to {LIMIT_MAX}"
                        ))
                    })?;
            }
            // What a client that has no cursor yet may send.
            "cursor" if value.is_empty() => {}
            "cursor" => {
                let parsed = value.parse();
                cursor = Some(parsed.map_err(|error| Refusal::invalid(format!("{error}")))?);
            }
            _ => {
                let message = format!("unknown parameter `{name}`; allowed: limit, cursor");
                return Err(Refusal::invalid(message));
            }
        }
    }
    Ok((limit, cursor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Result<(u32, Option<Cursor>), String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        page(pairs.iter().map(own).collect()).map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn a_creation_waits_for_ready_and_for_nothing_else() {
        let waits = |pairs: &[(&str, &str)]| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let said = waits(pairs.iter().map(own).collect());
            said.map_err(|refusal| format!("{refusal:?}"))
        };
        assert_eq!(waits(&[]), Ok(false));
        assert_eq!(waits(&[("wait", "ready")]), Ok(true));
        for value in ["", "true", "closed", "READY", "30"] {
            let refusal = waits(&[("wait", value)]).unwrap_err();
            assert!(
                refusal.contains("`wait`") && refusal.contains("ready"),
                "{refusal}"
            );
        }
        let refusal = waits(&[("wiat", "ready")]).unwrap_err();
        assert!(refusal.contains("`wiat`"), "{refusal}");
    }

    #[test]
    fn a_listing_is_bounded_and_unknown_parameters_are_named() {
        assert_eq!(query(&[]), Ok((20, None)));
        assert_eq!(query(&[("limit", "100"), ("cursor", "")]), Ok((100, None)));
        for (pair, named) in [
            (("limit", "0"), "`limit`"),
            (("limit", "101"), "1 to 100"),
            (("limit", "abc"), "`limit`"),
            (("cursor", "zzz"), "`cursor`"),
            (("status", "ready"), "unknown parameter `status`"),
        ] {
            let refusal = query(&[pair]).unwrap_err();
            assert!(refusal.contains(named), "{refusal}");
        }
    }
}
