//! Between the wire's words and the model's, from the relay's side.

use std::str::FromStr;

use secrecy::SecretString;
use tonic::Status;

use super::{AttachFailed, BindFailed, attachment::Attachment, ledger::News, sessions::Tombstone};
use crate::{
    adb::Key,
    model::{
        Blame, BootInstant, Bounds, Capabilities, Ending, Limits, OnDevice, Targets, Traffic,
        Written,
    },
    relay::{
        Device, Login, Place, Position, Upstream, Way,
        egress::{Probed, Reason},
    },
    traces::Collector,
    wire::relay as pb,
};

pub(super) fn parse<T: FromStr<Err: std::fmt::Display>>(
    field: &str,
    text: &str,
) -> Result<T, Status> {
    text.parse()
        .map_err(|error| Status::invalid_argument(format!("{field}: {error}")))
}

pub(super) fn parse_all<T: FromStr<Err: std::fmt::Display>>(
    field: &str,
    texts: &[String],
) -> Result<Vec<T>, Status> {
    texts.iter().map(|text| parse(field, text)).collect()
}

pub(super) fn instant(field: &str, at: Option<pb::BootInstant>) -> Result<BootInstant, Status> {
    let at = at.ok_or_else(|| Status::invalid_argument(format!("{field} is missing")))?;
    Ok(BootInstant {
        boot: parse(field, &at.boot_id)?,
        micros: at.micros,
    })
}

/// Where the browser of a device is, and the key for it.
pub(super) fn on_device(of: pb::OnDevice) -> Result<Device, Status> {
    let port = u16::try_from(of.adb_port).ok().filter(|port| *port != 0);
    let adb_port = port.ok_or_else(|| Status::invalid_argument("on_device.adb_port is no port"))?;
    let key = Some(of.adb_key).filter(|key| !key.is_empty());
    let key = key.map(|key| Key::from_der(&key)).transpose();
    let key = key.map_err(|why| Status::invalid_argument(format!("on_device.adb_key: {why}")))?;
    let at = OnDevice {
        adb_port,
        socket: of.socket,
    };
    Ok(Device { at, key })
}

pub(super) const fn capabilities(of: Capabilities) -> pb::Capabilities {
    pb::Capabilities {
        browser_contexts: of.browser_contexts,
        downloads: of.downloads,
    }
}

/// The way out that a claim names.
pub(super) fn way(route: Option<pb::Route>) -> Result<Way, Status> {
    let route = route.ok_or_else(|| Status::invalid_argument("route is missing"))?;
    let mut all = vec![bounds(pb::Bounds {
        only: route.only,
        never: route.never,
    })?];
    for more in route.more_bounds {
        all.push(bounds(more)?);
    }
    // Most bind nothing, and every connection asks.
    all.retain(|one| !one.is_empty());
    Ok(Way {
        source: match &*route.source_ip {
            "" => None,
            address => Some(parse("route.source_ip", address)?),
        },
        interface: route.interface,
        place: place(route.place.unwrap_or_default()),
        upstream: route.upstream.map(upstream).transpose()?,
        nameservers: parse_all("route.nameservers", &route.nameservers)?,
        limits: limits(route.limits.unwrap_or_default()),
        bounds: all,
    })
}

const fn limits(of: pb::Limits) -> Limits {
    Limits {
        quota_bytes: of.quota_bytes,
        throttle_after_bytes: of.throttle_after_bytes,
        throttle_bytes_per_second: of.throttle_bytes_per_second,
        bytes_per_second: of.bytes_per_second,
        connections: of.connections,
        requests_per_minute: of.requests_per_minute,
    }
}

fn bounds(of: pb::Bounds) -> Result<Bounds, Status> {
    Ok(Bounds {
        only: targets(of.only.unwrap_or_default())?,
        never: targets(of.never.unwrap_or_default())?,
    })
}

fn targets(of: pb::Targets) -> Result<Targets, Status> {
    let bad = |what: String| Status::invalid_argument(format!("route's targets: {what}"));
    let ports = of.ports.into_iter().map(u16::try_from);
    Targets::try_from(Written {
        networks: parse_all("route's networks", &of.networks)?,
        hosts: of.hosts,
        ports: ports
            .collect::<Result<_, _>>()
            .map_err(|_large| bad("no port".to_owned()))?,
        schemes: of.schemes,
    })
    .map_err(|error| bad(error.to_string()))
}

fn place(of: pb::Place) -> Place {
    Place {
        time_zone: of.time_zone,
        languages: of.languages,
        position: of.position.map(|at| Position {
            latitude: at.latitude,
            longitude: at.longitude,
            accuracy: at.accuracy,
        }),
    }
}

fn upstream(of: pb::Upstream) -> Result<Upstream, Status> {
    let port = u16::try_from(of.port).ok().filter(|port| *port != 0);
    Ok(Upstream {
        scheme: parse("route.upstream.scheme", &of.scheme)?,
        host: of.host,
        port: port.ok_or_else(|| Status::invalid_argument("route.upstream.port is no port"))?,
        login: of.has_login.then(|| Login {
            username: of.username.into(),
            password: of.password.into(),
        }),
        ca: of.ca,
        is_foreign: of.is_foreign,
    })
}

pub(super) const fn traffic(of: pb::Traffic) -> Traffic {
    Traffic {
        up: of.up,
        down: of.down,
        cdp_up: of.cdp_up,
        cdp_down: of.cdp_down,
        connections: of.connections,
    }
}

pub(super) fn secret(token: String) -> Option<SecretString> {
    (!token.is_empty()).then(|| SecretString::from(token))
}

pub(super) fn ending_to_wire(ending: &Ending) -> pb::Ending {
    let Traffic {
        up,
        down,
        cdp_up,
        cdp_down,
        connections,
    } = ending.traffic;
    let micros = ending.at.unix_timestamp_nanos() / 1_000;
    pb::Ending {
        reason: ending.reason.as_str().to_owned(),
        at_unix_micros: i64::try_from(micros).unwrap_or(i64::MAX),
        traffic: Some(pb::Traffic {
            up,
            down,
            cdp_up,
            cdp_down,
            connections,
        }),
        detail: ending.detail.clone().unwrap_or_default(),
        blame: ending.blame.map_or("", Blame::as_str).to_owned(),
    }
}

pub(super) fn tombstone(tombstone: Tombstone) -> pb::Ended {
    pb::Ended {
        session_id: tombstone.session.into(),
        instance_id: tombstone
            .instance
            .map_or_else(String::new, |id| id.to_string()),
        ending: Some(ending_to_wire(&tombstone.ending)),
        seq: tombstone.seq,
        record: tombstone.record,
    }
}

/// The hosts with the most bytes of one instance.
pub(super) fn hosts(held: &Attachment) -> Vec<pb::HostTraffic> {
    let each = held.top_hosts().into_iter().map(|one| pb::HostTraffic {
        host: one.host.unwrap_or_default(),
        up: one.up,
        down: one.down,
    });
    each.collect()
}

/// What connections of one instance came to.
pub(super) fn tally(held: &Attachment) -> pb::InstanceTally {
    let refused = held.refusals().into_iter();
    pb::InstanceTally {
        instance_id: held.instance.to_string(),
        reached: held.reached(),
        refused: refused
            .map(|(why, count)| (why.to_owned(), count))
            .collect(),
    }
}

pub(super) fn probed(looked: Result<Probed, (Reason, String)>) -> pb::ProbeResponse {
    match looked {
        Ok(probed) => pb::ProbeResponse {
            status: probed.status.into(),
            body: probed.body,
            took_micros: u64::try_from(probed.took.as_micros()).unwrap_or(u64::MAX),
            ..pb::ProbeResponse::default()
        },
        Err((reason, detail)) => pb::ProbeResponse {
            refused: reason.as_str().to_owned(),
            detail,
            ..pb::ProbeResponse::default()
        },
    }
}

pub(super) fn event(seq: u64, news: News) -> pb::Event {
    let what = match news {
        News::Ended {
            session,
            instance,
            ending,
            record,
        } => pb::event::What::Ended(tombstone(Tombstone {
            session,
            instance,
            ending,
            seq,
            record,
        })),
        News::SocketsLow(instance) => pb::event::What::SocketsLow(pb::SocketsLow {
            instance_id: instance.to_string(),
        }),
        News::InstanceLost { instance, cause } => pb::event::What::InstanceLost(pb::InstanceLost {
            instance_id: instance.to_string(),
            cause,
        }),
    };
    pb::Event {
        seq,
        what: Some(what),
    }
}

impl From<AttachFailed> for Status {
    fn from(error: AttachFailed) -> Self {
        let why = error.to_string();
        match error {
            AttachFailed::NoSockets => Self::not_found(why),
            AttachFailed::Busy | AttachFailed::Detached => Self::aborted(why),
            AttachFailed::Died | AttachFailed::Supervisor(_) => Self::unavailable(why),
            AttachFailed::Io(_) => Self::internal(why),
        }
    }
}

impl From<BindFailed> for Status {
    fn from(error: BindFailed) -> Self {
        let why = error.to_string();
        match error {
            BindFailed::NotAttached(_) => Self::not_found(why),
            BindFailed::Unfit(_) => Self::unavailable(why),
            BindFailed::Taken(_) | BindFailed::Session(_) => Self::aborted(why),
            BindFailed::Io(_) => Self::internal(why),
        }
    }
}

impl From<pb::Collector> for Collector {
    fn from(of: pb::Collector) -> Self {
        Self {
            url: of.url,
            headers: of.headers.into(),
        }
    }
}
