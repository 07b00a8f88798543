use std::{io::Write, time::Duration};

use super::*;

fn file(text: &str) -> (tempfile::NamedTempFile, Sources) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let sources = Sources {
        file: Some(file.path().to_owned()),
        ..Sources::default()
    };
    (file, sources)
}

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Sources {
        environment: pairs.iter().map(own).collect(),
        ..Sources::default()
    }
}

fn refusal(sources: &Sources) -> String {
    Config::load(sources).unwrap_err().to_string()
}

#[test]
fn nothing_given_is_the_defaults() {
    assert_eq!(
        Config::load(&Sources::default()).unwrap(),
        Config::default()
    );
}

#[test]
fn flags_beat_the_environment_and_that_beats_the_file() {
    let (_file, mut sources) =
        file("[api]\nlisten = \"127.0.0.1:1\"\nttl_max = \"2h\"\n[cdp]\nlisten = \"127.0.0.1:4\"");
    sources.environment = environment(&[
        ("CHASER_API_LISTEN", "127.0.0.1:2"),
        ("CHASER_CDP_LISTEN", "127.0.0.1:5"),
        ("CHASER_API_KEYS", "sk_a, sk_b"),
        ("CHASER_API_COUNT_CDP_BYTES", "true"),
        ("CHASER_NODE_LISTEN", "127.0.0.1:9"),
        ("CHASER_API_KEY", "belongs to the command line"),
        ("PATH", "/bin"),
    ])
    .environment;
    sources.flags = vec![Flag {
        name: "--api-listen",
        key: "api.listen",
        value: "127.0.0.1:3".into(),
    }];
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.api.listen.port(), 3);
    assert_eq!(config.cdp.listen.port(), 5);
    assert_eq!(config.api.ttl_max, Duration::from_secs(7200));
    assert_eq!(config.api.keys.len(), 2);
    assert_eq!(config.node.listen.unwrap().port(), 9);
    assert!(config.api.count_cdp_bytes);
}

#[test]
fn an_unknown_key_is_refused_by_name_with_what_is_allowed() {
    let (named, sources) = file("[admin]\nport = 1");
    let refusal_text = refusal(&sources);
    assert!(
        refusal_text.contains(&named.path().display().to_string()),
        "{refusal_text}"
    );
    assert!(
        refusal_text.contains("`admin.port`; allowed: listen"),
        "{refusal_text}"
    );
    let (_file, sources) = file("[wrong]");
    let text = refusal(&sources);
    assert!(text.contains("`wrong`") && text.contains("[api]"), "{text}");
    let (_file, sources) = file("stat_dir = 1");
    let text = refusal(&sources);
    assert!(
        text.contains("`stat_dir`") && text.contains("state_dir"),
        "{text}"
    );
    let text = refusal(&environment(&[("CHASER_ADMIN_PORT", "1")]));
    assert!(
        text.contains("`CHASER_ADMIN_PORT`; allowed: CHASER_ADMIN_LISTEN"),
        "{text}"
    );
}

/// Variable, value, what the refusal must say: the key and what is allowed.
const BAD: &[(&str, &str, &str, &str)] = &[
    (
        "CHASER_API_LISTEN",
        "7700",
        "`api.listen`",
        "127.0.0.1:7700",
    ),
    (
        "CHASER_NODE_MAX_SESSIONS",
        "many",
        "`node.max_sessions`",
        "a whole number",
    ),
    (
        "CHASER_NODE_MAX_SESSIONS",
        "-1",
        "`node.max_sessions`",
        "u32",
    ),
    (
        "CHASER_SESSION_IDLE_TIMEOUT",
        "5 bananas",
        "`session.idle_timeout`",
        "30s",
    ),
    (
        "CHASER_API_COUNT_CDP_BYTES",
        "yes",
        "`api.count_cdp_bytes`",
        "true or false",
    ),
    (
        "CHASER_LOG_FORMAT",
        "xml",
        "`log.format`",
        "`text`, `json`, `journald`",
    ),
    ("CHASER_LOG_LEVEL", "lo=u=d", "`log.level`", "debug"),
    (
        "CHASER_EGRESS_ADDRESSES",
        "10.0.0.300",
        "`egress.addresses`",
        "IP address",
    ),
    (
        "CHASER_EGRESS_ALLOW",
        "10.0.0.0/64",
        "`egress.allow`",
        "allowed",
    ),
    (
        "CHASER_API_TTL_DEFAULT",
        "2h",
        "`api.ttl_default`",
        "\"1h\" (api.ttl_max)",
    ),
    (
        "CHASER_API_TTL_MIN",
        "0s",
        "`api.ttl_min`",
        "at least \"1s\"",
    ),
    (
        "CHASER_ADMIN_LISTEN",
        "127.0.0.1:7700",
        "`admin.listen`",
        "api.listen listens there",
    ),
    (
        "CHASER_CDP_PUBLIC_URL",
        "https://x",
        "`cdp.public_url`",
        "wss://",
    ),
    ("CHASER_STATE_DIR", "", "`state_dir`", "directory"),
    (
        "CHASER_INSTANCE_PIDS",
        "3",
        "`instance.pids`",
        "at least 64",
    ),
    (
        "CHASER_HOST_SAMPLE_INTERVAL",
        "5ms",
        "`host.sample_interval`",
        "from \"100ms\"",
    ),
    (
        "CHASER_HOST_DISK_CRITICAL_BYTES",
        "9999999999",
        "`host.disk_critical_bytes`",
        "at most its degraded threshold",
    ),
    (
        "CHASER_HOST_DOCKER_CRITICAL",
        "1s",
        "`host.docker_critical`",
        "at least its degraded threshold",
    ),
    (
        "CHASER_HOST_PRESSURE_CRITICAL_PERCENT",
        "400",
        "`host.pressure_critical_percent`",
        "100 is all",
    ),
];

#[test]
fn a_bad_value_is_refused_with_its_origin_and_what_is_allowed() {
    for (variable, value, key, allowed) in BAD {
        let text = refusal(&environment(&[(*variable, *value)]));
        for part in [variable, key, allowed] {
            assert!(text.contains(*part), "{part} is not in: {text}");
        }
    }
}

#[test]
fn a_malformed_key_is_not_repeated() {
    let text = refusal(&environment(&[("CHASER_API_KEYS", "secret")]));
    assert!(text.contains("`sk_`") && !text.contains("secret"), "{text}");
}

#[test]
fn a_runtime_directory_may_fill_a_socket_path_but_not_more() {
    let fits = format!("/{}", "r".repeat(92));
    let sources = environment(&[("CHASER_RUNTIME_DIR", &fits)]);
    Config::load(&sources).unwrap();
    let text = refusal(&environment(&[("CHASER_RUNTIME_DIR", &format!("{fits}r"))]));
    assert!(
        text.contains("`runtime_dir`") && text.contains("at most 93 bytes"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_missing_or_not_toml_is_named() {
    let sources = Sources {
        file: Some(PathBuf::from("/nonexistent/chaser.toml")),
        ..Sources::default()
    };
    assert!(refusal(&sources).contains("/nonexistent/chaser.toml"));
    let (_file, sources) = file("listen 3");
    assert!(refusal(&sources).contains("is not TOML"));
}
