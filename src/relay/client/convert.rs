//! Between the relay's wire words and the model's.

use secrecy::ExposeSecret;
use time::OffsetDateTime;

use super::{
    Bind, Ended, Expected, Held, Inventory, Look, RelayError, RelayEvent, Settings, Tally, exposed,
};
use crate::{
    adb::Key,
    model::{
        Blame, BootInstant, Bounds, Capabilities, Ending, HostTraffic, InstanceId, Targets,
        Traffic, Written,
    },
    profile::Profile,
    relay::{Device, PROTOCOL, Place, Way},
    wire::relay as pb,
};

fn malformed(error: impl std::fmt::Display) -> RelayError {
    RelayError::Malformed(error.to_string())
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn instant(at: BootInstant) -> pb::BootInstant {
    pb::BootInstant {
        boot_id: at.boot.to_string(),
        micros: at.micros,
    }
}

pub(super) fn hello(epoch: u64, settings: &Settings) -> pb::HelloRequest {
    pb::HelloRequest {
        agent_epoch: epoch,
        protocol: PROTOCOL,
        egress: Some(pb::EgressPolicy {
            allow: settings
                .egress_allow
                .iter()
                .map(ToString::to_string)
                .collect(),
            deny: settings
                .egress_deny
                .iter()
                .map(ToString::to_string)
                .collect(),
            deny_ports: settings
                .egress_deny_ports
                .iter()
                .map(|port| u32::from(*port))
                .collect(),
            deny_hosts: settings.egress_deny_hosts.borrow().clone(),
            top_hosts: settings.top_hosts,
            nameservers: settings
                .nameservers
                .iter()
                .map(ToString::to_string)
                .collect(),
            allow_endpoints: settings
                .egress_endpoints
                .iter()
                .map(ToString::to_string)
                .collect(),
        }),
        gateway: Some(pb::GatewayLimits {
            hold_timeout_ms: millis(settings.hold_timeout),
            max_message_bytes: settings.max_message_bytes,
            max_clients_per_session: settings.max_clients_per_session,
            max_connections_per_source: settings.max_connections_per_source,
            wrong_guesses_per_minute: settings.wrong_guesses_per_minute,
            origins: settings.origins.clone(),
        }),
        browser_silence_ms: millis(settings.browser_silence),
        tls: settings
            .identity
            .borrow()
            .as_ref()
            .map(|identity| pb::GatewayTls {
                chain: identity.chain().to_owned(),
                key: identity.key().expose_secret().to_owned(),
            }),
        plaintext_beyond_host: settings.plaintext_beyond_host,
        expected: settings
            .expected
            .iter()
            .map(|one| expect(epoch, one))
            .collect(),
        collector: settings.collector.as_ref().map(|to| pb::Collector {
            url: to.url.clone(),
            headers: to.headers.expose_secret().to_owned(),
        }),
    }
}

pub(super) fn expect(epoch: u64, expected: &Expected) -> pb::ExpectRequest {
    pb::ExpectRequest {
        agent_epoch: epoch,
        session_id: expected.session.as_str().to_owned(),
        until: Some(instant(expected.until)),
        token: exposed(expected.token.as_ref()),
    }
}

pub(super) fn attach(
    agent_epoch: u64,
    instance: InstanceId,
    profile: &Profile,
    on_device: Option<&Device>,
) -> Result<pb::AttachRequest, RelayError> {
    let key = on_device.and_then(|device| device.key.as_ref());
    let key = key.map(Key::to_der).transpose()?;
    Ok(pb::AttachRequest {
        agent_epoch,
        instance_id: instance.to_string(),
        profile: serde_json::to_vec(profile)?,
        on_device: on_device.map(|device| pb::OnDevice {
            adb_port: device.at.adb_port.into(),
            socket: device.at.socket.clone(),
            adb_key: key.map_or_else(Vec::new, |key| key.expose_secret().to_vec()),
        }),
    })
}

pub(super) const fn capabilities(of: pb::Capabilities) -> Capabilities {
    Capabilities {
        browser_contexts: of.browser_contexts,
        downloads: of.downloads,
    }
}

pub(super) fn bind(epoch: u64, bind: &Bind) -> pb::BindRequest {
    pb::BindRequest {
        agent_epoch: epoch,
        session_id: bind.session.as_str().to_owned(),
        instance_id: bind.instance.to_string(),
        route: bind.way.as_ref().map(route),
        deadline: Some(instant(bind.deadline)),
        idle_timeout_ms: millis(bind.idle_timeout),
        token: exposed(bind.token.as_ref()),
        record: bind.record.clone(),
        used: Some(pb::Traffic {
            up: bind.used.up,
            down: bind.used.down,
            cdp_up: bind.used.cdp_up,
            cdp_down: bind.used.cdp_down,
            connections: bind.used.connections,
        }),
        reroute: bind.reroute,
    }
}

pub(super) fn route(way: &Way) -> pb::Route {
    let mut bounds = way.bounds.iter().map(bounds);
    let first = bounds.next().unwrap_or_default();
    pb::Route {
        source_ip: way.source.map_or_else(String::new, |ip| ip.to_string()),
        interface: way.interface.clone(),
        place: Some(place(&way.place)),
        nameservers: way.nameservers.iter().map(ToString::to_string).collect(),
        limits: way.limits.limit().then_some(pb::Limits {
            quota_bytes: way.limits.quota_bytes,
            throttle_after_bytes: way.limits.throttle_after_bytes,
            throttle_bytes_per_second: way.limits.throttle_bytes_per_second,
            bytes_per_second: way.limits.bytes_per_second,
            connections: way.limits.connections,
            requests_per_minute: way.limits.requests_per_minute,
        }),
        only: first.only,
        never: first.never,
        more_bounds: bounds.collect(),
        upstream: way.upstream.as_ref().map(|upstream| {
            let login = upstream.login.as_ref();
            pb::Upstream {
                scheme: upstream.scheme.as_str().to_owned(),
                host: upstream.host.clone(),
                port: upstream.port.into(),
                has_login: login.is_some(),
                username: exposed(login.map(|login| &login.username)),
                password: exposed(login.map(|login| &login.password)),
                ca: upstream.ca.clone(),
                is_foreign: upstream.is_foreign,
            }
        }),
    }
}

fn bounds(of: &Bounds) -> pb::Bounds {
    pb::Bounds {
        only: Some(targets(&of.only)),
        never: Some(targets(&of.never)),
    }
}

fn targets(of: &Targets) -> pb::Targets {
    let written = Written::from(of.clone());
    pb::Targets {
        networks: written.networks.iter().map(ToString::to_string).collect(),
        hosts: written.hosts,
        ports: written.ports.into_iter().map(u32::from).collect(),
        schemes: written.schemes,
    }
}

fn place(of: &Place) -> pb::Place {
    pb::Place {
        time_zone: of.time_zone.clone(),
        languages: of.languages.clone(),
        position: of.position.map(|at| pb::Position {
            latitude: at.latitude,
            longitude: at.longitude,
            accuracy: at.accuracy,
        }),
    }
}

pub(super) fn tally(of: pb::InstanceTally) -> Result<Tally, RelayError> {
    Ok(Tally {
        instance: of.instance_id.parse().map_err(malformed)?,
        reached: of.reached,
        refused: of.refused.into_iter().collect(),
    })
}

pub(super) fn host(of: pb::HostTraffic) -> HostTraffic {
    HostTraffic {
        host: (!of.host.is_empty()).then_some(of.host),
        up: of.up,
        down: of.down,
    }
}

pub(super) fn look(of: pb::ProbeResponse) -> Look {
    if of.refused.is_empty() {
        Look::Works {
            took: std::time::Duration::from_micros(of.took_micros),
            status: of.status,
            body: of.body,
        }
    } else {
        Look::Refused {
            reason: of.refused,
            detail: of.detail,
        }
    }
}

pub(super) fn ending(ending: Option<pb::Ending>) -> Result<Ending, RelayError> {
    let ending = ending.ok_or_else(|| malformed("an ending without content"))?;
    let traffic = ending.traffic.unwrap_or_default();
    let nanos = i128::from(ending.at_unix_micros) * 1_000;
    Ok(Ending {
        reason: ending.reason.parse().map_err(malformed)?,
        at: OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(malformed)?,
        traffic: Traffic {
            up: traffic.up,
            down: traffic.down,
            cdp_up: traffic.cdp_up,
            cdp_down: traffic.cdp_down,
            connections: traffic.connections,
        },
        detail: (!ending.detail.is_empty()).then_some(ending.detail),
        blame: Blame::read(&ending.blame),
    })
}

fn ended(ended: pb::Ended) -> Result<Ended, RelayError> {
    Ok(Ended {
        session: ended.session_id.parse().map_err(malformed)?,
        instance: if ended.instance_id.is_empty() {
            None
        } else {
            Some(ended.instance_id.parse().map_err(malformed)?)
        },
        ending: ending(ended.ending)?,
        seq: ended.seq,
        record: ended.record,
    })
}

pub(super) fn inventory(answer: pb::ListResponse) -> Result<Inventory, RelayError> {
    let held = answer.attachments.into_iter().map(|held| {
        Ok(Held {
            instance: held.instance_id.parse().map_err(malformed)?,
            session: if held.session_id.is_empty() {
                None
            } else {
                Some(held.session_id.parse().map_err(malformed)?)
            },
            record: held.record,
            product: held.browser_product,
            supervised: held.supervisors > 0 && !held.pageless,
        })
    });
    Ok(Inventory {
        held: held.collect::<Result<_, RelayError>>()?,
        ended: answer
            .ended
            .into_iter()
            .map(ended)
            .collect::<Result<_, _>>()?,
        refused: answer.egress_refused.into_iter().collect(),
    })
}

pub(super) fn event(event: pb::Event) -> Result<RelayEvent, RelayError> {
    let seq = event.seq;
    match event.what {
        Some(pb::event::What::Ended(what)) => {
            Ok(RelayEvent::Ended(ended(pb::Ended { seq, ..what })?))
        }
        Some(pb::event::What::SocketsLow(low)) => Ok(RelayEvent::SocketsLow {
            seq,
            instance: low.instance_id.parse().map_err(malformed)?,
        }),
        Some(pb::event::What::InstanceLost(lost)) => Ok(RelayEvent::InstanceLost {
            seq,
            instance: lost.instance_id.parse().map_err(malformed)?,
            cause: lost.cause,
        }),
        None => Err(malformed("an event without content")),
    }
}
