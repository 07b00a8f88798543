//! What an order asks of the way out, on the wire and checked.

use tonic::Status;

use super::validate::{MAX_LABEL, MAX_LABELS, invalid};
use crate::{
    control,
    model::{Bounds, EgressWish, Limits, OwnProxy, Targets, Written},
    routes::check_own,
    wire::node as pb,
};

/// So many parties may have bounded an order before it comes here.
const MAX_BOUNDS: usize = 4;

/// What is asked of the way out. A proxy's words are never quoted: a login may be among them.
pub(super) fn wish(of: pb::EgressWish) -> Result<EgressWish, Status> {
    let short = |word: &String| word.len() <= MAX_LABEL;
    let words = [&of.region, &of.country, &of.city, &of.route, &of.sticky];
    let fit =
        of.tags.len() <= MAX_LABELS && words.into_iter().all(short) && of.tags.iter().all(short);
    if !fit {
        return Err(invalid(
            "spec.egress",
            format_args!("at most {MAX_LABELS} tags, and words of at most {MAX_LABEL} bytes"),
        ));
    }
    let own = of.own.map(own).transpose()?;
    let wish = EgressWish {
        region: of.region,
        country: of.country,
        city: of.city,
        tags: of.tags.into_iter().collect(),
        route: of.route,
        sticky: of.sticky,
        own: None,
        limits: limits(of.limits.unwrap_or_default())?,
        bounds: bounds(of.bounds)?,
    };
    if own.is_some() && wish.asks() {
        let allowed = "either a proxy of the client's own or a choice among the node's routes";
        return Err(invalid("spec.egress", allowed));
    }
    Ok(EgressWish { own, ..wish })
}

fn own(of: pb::OwnProxy) -> Result<OwnProxy, Status> {
    check_own(&of.server).map_err(|problem| {
        Status::invalid_argument(format!("`spec.egress.own.server`: {problem}"))
    })?;
    let login = [&of.username, &of.password];
    let fits = login
        .iter()
        .all(|word| word.len() < MAX_LABEL && !word.contains(['\r', '\n', '\0']));
    if !fits || of.username.contains(':') || (of.username.is_empty() && !of.password.is_empty()) {
        let allowed = "at most 255 bytes each, on one line, and a user without a colon";
        return Err(invalid("spec.egress.own.username` and `password", allowed));
    }
    Ok(OwnProxy {
        server: of.server,
        has_login: !of.username.is_empty(),
        username: of.username.into(),
        password: of.password.into(),
    })
}

fn limits(of: pb::EgressLimits) -> Result<Limits, Status> {
    let limits = Limits {
        quota_bytes: of.quota_bytes,
        throttle_after_bytes: of.throttle_after_bytes,
        throttle_bytes_per_second: of.throttle_bytes_per_second,
        bytes_per_second: of.bytes_per_second,
        connections: of.connections,
        requests_per_minute: of.requests_per_minute,
    };
    limits
        .check()
        .map_err(|half| Status::invalid_argument(format!("`spec.egress.limits`: {half}")))
}

fn bounds(all: Vec<pb::EgressBounds>) -> Result<Vec<Bounds>, Status> {
    if all.len() > MAX_BOUNDS {
        return Err(invalid(
            "spec.egress.bounds",
            format_args!("at most {MAX_BOUNDS}"),
        ));
    }
    let each = all.into_iter().enumerate().map(|(at, one)| {
        let field = |side| format!("spec.egress.bounds[{at}].{side}");
        Ok(Bounds {
            only: targets(&field("only"), one.only.unwrap_or_default())?,
            never: targets(&field("never"), one.never.unwrap_or_default())?,
        })
    });
    each.collect()
}

fn targets(field: &str, of: pb::EgressTargets) -> Result<Targets, Status> {
    let network = |text: &String| {
        let read = text.parse();
        read.map_err(|_bad| invalid(&format!("{field}.networks"), "CIDRs such as 10.0.0.0/8"))
    };
    let port = |port: u32| {
        let read = u16::try_from(port);
        read.map_err(|_large| invalid(&format!("{field}.ports"), "ports, up to 65535"))
    };
    let written = Written {
        networks: of.networks.iter().map(network).collect::<Result<_, _>>()?,
        hosts: of.hosts,
        ports: of.ports.into_iter().map(port).collect::<Result<_, _>>()?,
        schemes: of.schemes,
    };
    let targets = Targets::try_from(written);
    targets
        .and_then(|targets| targets.fit().map(|()| targets))
        .map_err(|problem| Status::invalid_argument(format!("`{field}` {problem}")))
}

/// What was asked, as a control plane writes it, less what is secret of it.
pub(super) fn to_wire(mut of: EgressWish) -> pb::EgressWish {
    if let Some(own) = &mut of.own {
        own.username = String::new().into();
        own.password = String::new().into();
    }
    control::wish_to_wire(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(bounds: Vec<pb::EgressBounds>) -> Result<EgressWish, Status> {
        wish(pb::EgressWish {
            bounds,
            ..pb::EgressWish::default()
        })
    }

    fn only(only: pb::EgressTargets) -> pb::EgressBounds {
        pb::EgressBounds {
            only: Some(only),
            never: None,
        }
    }

    #[test]
    fn bounds_come_back_as_they_were_sent() {
        let sent = only(pb::EgressTargets {
            networks: vec!["10.0.0.0/8".to_owned()],
            hosts: vec!["example.com".to_owned()],
            ports: vec![443],
            schemes: vec!["https".to_owned()],
        });
        let read = bounded(vec![sent.clone()]).unwrap();
        assert!(!read.asks(), "they ask nothing of the route");
        let shown = to_wire(read);
        assert_eq!(shown.bounds[0].only, sent.only);
    }

    #[test]
    fn what_is_wrong_with_bounds_is_named() {
        let wrong = |only_: pb::EgressTargets| bounded(vec![only(only_)]).unwrap_err();
        let none = pb::EgressTargets::default;
        for (status, named) in [
            (
                wrong(pb::EgressTargets {
                    networks: vec!["10.0.0.0/40".to_owned()],
                    ..none()
                }),
                "`spec.egress.bounds[0].only.networks`",
            ),
            (
                wrong(pb::EgressTargets {
                    ports: vec![70_000],
                    ..none()
                }),
                "`spec.egress.bounds[0].only.ports`",
            ),
            (
                wrong(pb::EgressTargets {
                    hosts: vec!["a b".to_owned()],
                    ..none()
                }),
                "`spec.egress.bounds[0].only` must have `hosts`",
            ),
            (
                wrong(pb::EgressTargets {
                    ports: vec![80; 2_000],
                    ..none()
                }),
                "at most 1024",
            ),
            (
                bounded(vec![only(none()); 5]).unwrap_err(),
                "`spec.egress.bounds`",
            ),
        ] {
            assert!(status.message().contains(named), "{}", status.message());
        }
    }
}
