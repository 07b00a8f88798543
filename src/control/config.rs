//! `[api]` of the configuration: the public API and what stands behind it.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;

use super::ApiKey;

/// `[api]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the session API listens.
    pub listen: SocketAddr,
    /// Keys of the workspace `default`, valid for as long as they are configured.
    pub keys: Vec<ApiKey>,
    /// Sessions that one workspace may have at once; 0 means no limit.
    pub max_concurrent_sessions: u32,
    /// Sessions that one workspace may create within a minute; 0 means no limit.
    pub max_creates_per_minute: u32,
    /// How long records of ended sessions can be read.
    #[serde(with = "crate::model::duration")]
    pub record_retention: Duration,
    /// The shortest lifetime that an order may ask for.
    #[serde(with = "crate::model::duration")]
    pub ttl_min: Duration,
    /// The longest lifetime that an order may ask for.
    #[serde(with = "crate::model::duration")]
    pub ttl_max: Duration,
    /// The lifetime of orders that do not say.
    #[serde(with = "crate::model::duration")]
    pub ttl_default: Duration,
    /// Whether bytes of the CDP connection itself belong to `bytes_total`.
    pub count_cdp_bytes: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7700)),
            keys: Vec::new(),
            max_concurrent_sessions: 10,
            max_creates_per_minute: 20,
            record_retention: Duration::from_secs(7 * 24 * 3600),
            ttl_min: Duration::from_secs(60),
            ttl_max: Duration::from_secs(3600),
            ttl_default: Duration::from_secs(1800),
            count_cdp_bytes: false,
        }
    }
}
