//! `[log]`: what the process says of itself, always on stderr.

use std::io::{self, IsTerminal};

use serde::Deserialize;
use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan, util::SubscriberInitExt};

const LIBRARIES: &str = "bollard=warn,h2=warn,hyper=warn,hyper_util=warn,hickory_resolver=warn";

/// `[log]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How a line looks.
    pub format: Format,
    /// A level or a filter.
    pub level: String,
    /// Whether each traced step says how long it took, once it is over; the level must show its span.
    pub spans: bool,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: Format::Text,
            level: "info".to_owned(),
            spans: false,
        }
    }
}

impl Config {
    /// The filter, parsed.
    ///
    /// # Errors
    /// Text that is no filter.
    pub fn filter(&self) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
        // What libraries say of every call is never wanted by accident: it holds whole requests.
        EnvFilter::builder().parse(format!("{LIBRARIES},{}", self.level))
    }
}

/// Starts logging. A second call in one process changes nothing.
pub fn start(config: &Config) {
    // The level was checked with the rest of the configuration.
    let filter = config.filter().unwrap_or_default();
    let ends = if config.spans {
        FmtSpan::CLOSE
    } else {
        FmtSpan::NONE
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(ends)
        .with_writer(io::stderr);
    let started = match config.format {
        Format::Text => log
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .finish()
            .try_init(),
        Format::Json => log.json().finish().try_init(),
    };
    drop(started);
}
