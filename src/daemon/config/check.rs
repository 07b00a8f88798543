//! What no type can say of a configuration: ranges and what must agree.

use std::{borrow::Cow, os::unix::ffi::OsStrExt, time::Duration};

use super::{
    Config,
    listeners::{ports, tls},
};
use crate::{
    node::{EVENTS, NoticeSource},
    relay::Paths,
};

/// `sun_path` of a Unix socket holds 108 bytes, the last of them a zero.
const SOCKET_PATH_MAX: usize = 107;

/// A value that cannot be: the key and a sentence of what is allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) key: Cow<'static, str>,
    pub(super) sentence: String,
}

pub(super) fn require(
    holds: bool,
    key: &'static str,
    sentence: impl Into<String>,
) -> Result<(), Problem> {
    if holds {
        return Ok(());
    }
    Err(Problem {
        key: Cow::Borrowed(key),
        sentence: sentence.into(),
    })
}

/// The first problem, if there is one.
pub(super) fn check(config: &Config) -> Result<(), Problem> {
    directories(config)?;
    ports(config)?;
    tls(config)?;
    limits(config)?;
    top_hosts(config)?;
    lifetimes(config)?;
    host(config)?;
    hooks(config)?;
    notice(config)?;
    if let Some((key, sentence)) = config.substrate.problem() {
        return Err(Problem {
            key: Cow::Owned(key),
            sentence,
        });
    }
    let url = &config.cdp.public_url;
    require(
        url.is_empty() || is_websocket_url(url),
        "cdp.public_url",
        format!("is \"{url}\", but must be empty or start with ws:// or wss:// and name a host"),
    )?;
    require(
        config.log.has_valid_traces(),
        "log.traces",
        format!(
            "is \"{}\", but must be empty or a collector's whole URL, such as \
             http://127.0.0.1:4318/v1/traces",
            config.log.traces
        ),
    )?;
    require(
        config.log.filter().is_ok(),
        "log.level",
        format!(
            "is \"{}\", but must be error, warn, info, debug, trace or a filter such as \
             \"info,chaser::relay=debug\"",
            config.log.level
        ),
    )
}

fn is_websocket_url(url: &str) -> bool {
    ["ws://", "wss://"]
        .into_iter()
        .filter_map(|scheme| url.strip_prefix(scheme))
        .any(|host| !host.is_empty() && !host.starts_with('/') && !host.contains(['?', '#', ' ']))
}

fn directories(config: &Config) -> Result<(), Problem> {
    for (key, path) in [
        ("state_dir", &config.state_dir),
        ("runtime_dir", &config.runtime_dir),
    ] {
        require(
            path.is_absolute(),
            key,
            format!("is \"{}\", but must name a directory", path.display()),
        )?;
    }
    let paths = Paths {
        root: config.runtime_dir.clone(),
    };
    let longest = paths.fd_socket();
    let length = longest.as_os_str().as_bytes().len();
    let excess = length.saturating_sub(SOCKET_PATH_MAX);
    let allowed = config.runtime_dir.as_os_str().len().saturating_sub(excess);
    require(
        length <= SOCKET_PATH_MAX,
        "runtime_dir",
        format!(
            "is too long: \"{}\" would have {length} bytes, a Unix socket's path at most \
             {SOCKET_PATH_MAX}; use a directory of at most {allowed} bytes",
            longest.display()
        ),
    )
}

/// More hosts of a session are not shown: each costs memory of the relay.
fn top_hosts(config: &Config) -> Result<(), Problem> {
    const MOST: u32 = 100;
    let hosts = config.egress.top_hosts;
    let allowed = format!("is {hosts}, but must be at most {MOST}");
    require(hosts <= MOST, "egress.top_hosts", allowed)
}

fn limits(config: &Config) -> Result<(), Problem> {
    const MIB: u64 = 1 << 20;
    let at_least = [
        (
            "instance.memory_bytes",
            config.instance.memory_bytes,
            256 * MIB,
        ),
        (
            "instance.cpu_millis",
            config.instance.cpu_millis.into(),
            100,
        ),
        ("instance.pids", config.instance.pids.into(), 64),
        ("instance.shm_bytes", config.instance.shm_bytes, 16 * MIB),
        (
            "instance.scratch_bytes",
            config.instance.scratch_bytes,
            16 * MIB,
        ),
        (
            "instance.concurrent_starts",
            config.instance.concurrent_starts.into(),
            1,
        ),
        (
            "pool.concurrent_starts",
            config.pool.concurrent_starts.into(),
            1,
        ),
        (
            "egress.sessions_per_address",
            config.egress.sessions_per_address.into(),
            1,
        ),
        (
            "cdp.max_message_bytes",
            config.cdp.max_message_bytes,
            64 << 10,
        ),
        (
            "cdp.max_clients_per_session",
            config.cdp.max_clients_per_session.into(),
            1,
        ),
    ];
    for (key, value, least) in at_least {
        require(
            value >= least,
            key,
            format!("is {value}, but must be at least {least}"),
        )?;
    }
    require(
        config.pool.warm == 0 || !config.pool.profiles.is_empty(),
        "pool.profiles",
        "is empty, but must name some while pool.warm is not 0",
    )?;
    let named = [
        ("instance.image", &config.instance.image),
        ("node.docker", &config.node.docker),
        ("cdp.user", &config.cdp.user),
    ];
    for (key, text) in named {
        require(!text.is_empty(), key, "is empty, but must name something")?;
    }
    Ok(())
}

fn hooks(config: &Config) -> Result<(), Problem> {
    let hooks = &config.hooks;
    let url = &hooks.url;
    let web = ["http://", "https://"];
    let host = web.iter().find_map(|scheme| url.strip_prefix(scheme));
    require(
        url.is_empty() || host.is_some_and(|host| !host.is_empty() && !host.contains(' ')),
        "hooks.url",
        format!(
            "is \"{url}\", but must be empty or start with http:// or https:// and name a host"
        ),
    )?;
    require(
        url.is_empty() || !hooks.secret_file.is_empty(),
        "hooks.secret_file",
        "is empty, but must name the file with the key while hooks.url is set",
    )?;
    require(
        hooks.exec.is_empty() || hooks.exec.starts_with('/'),
        "hooks.exec",
        format!(
            "is \"{}\", but must be the absolute path of a program",
            hooks.exec
        ),
    )?;
    for event in &hooks.events {
        require(
            EVENTS.contains(&event.as_str()),
            "hooks.events",
            format!(
                "names \"{event}\", but must name some of {}",
                EVENTS.join(", ")
            ),
        )?;
    }
    require(
        hooks.queue > 0,
        "hooks.queue",
        "is 0, but must be at least 1",
    )
}

fn notice(config: &Config) -> Result<(), Problem> {
    let notice = &config.notice;
    let needed = matches!(notice.source, NoticeSource::File | NoticeSource::Exec);
    require(
        !needed || notice.path.starts_with('/'),
        "notice.path",
        format!(
            "is \"{}\", but must be an absolute path while notice.source is file or exec",
            notice.path
        ),
    )
}

fn host(config: &Config) -> Result<(), Problem> {
    let shortest = Duration::from_millis(100);
    let longest = Duration::from_secs(60);
    let interval = config.host.sample_interval;
    require(
        (shortest..=longest).contains(&interval),
        "host.sample_interval",
        format!(
            "is \"{}\", but must be from \"100ms\" to \"1m\"",
            humantime::format_duration(interval)
        ),
    )?;
    for (key, first, second, rises) in config.host.pairs() {
        let agree = if rises {
            first <= second
        } else {
            first >= second
        };
        let bound = if rises { "at least" } else { "at most" };
        require(
            agree,
            key,
            format!("is critical before it is degraded: it must be {bound} its degraded threshold"),
        )?;
        require(
            !key.ends_with("_percent") || first.max(second) <= 100,
            key,
            "and its degraded threshold are percentages: 100 is all",
        )?;
    }
    Ok(())
}

fn lifetimes(config: &Config) -> Result<(), Problem> {
    let second = Duration::from_secs(1);
    let at_least = [
        ("instance.start_timeout", config.instance.start_timeout),
        ("pool.max_age", config.pool.max_age),
        ("pool.probe_interval", config.pool.probe_interval),
        ("instance.hang_timeout", config.instance.hang_timeout),
        ("session.idle_timeout", config.session.idle_timeout),
        ("cdp.hold_timeout", config.cdp.hold_timeout),
        ("node.orphan_grace", config.node.orphan_grace),
        ("api.ttl_min", config.api.ttl_min),
        ("hooks.timeout", config.hooks.timeout),
        ("notice.interval", config.notice.interval),
        ("hooks.give_up_after", config.hooks.give_up_after),
    ];
    for (key, value) in at_least {
        let shown = humantime::format_duration(value);
        require(
            value >= second,
            key,
            format!("is \"{shown}\", but must be at least \"1s\""),
        )?;
    }
    let minute = Duration::from_secs(60);
    require(
        config.api.record_retention >= minute,
        "api.record_retention",
        "must be at least \"1m\", because the creation limit counts records",
    )?;
    let (min, max) = (config.api.ttl_min, config.api.ttl_max);
    let (low, high) = (
        humantime::format_duration(min),
        humantime::format_duration(max),
    );
    require(
        min <= max,
        "api.ttl_max",
        format!("is \"{high}\", but must be at least api.ttl_min (\"{low}\")"),
    )?;
    let default = config.api.ttl_default;
    require(
        (min..=max).contains(&default),
        "api.ttl_default",
        format!(
            "is \"{}\", but must be from \"{low}\" (api.ttl_min) to \"{high}\" (api.ttl_max)",
            humantime::format_duration(default)
        ),
    )
}
