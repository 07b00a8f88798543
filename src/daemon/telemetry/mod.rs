//! `[log]`: what the process says of itself: lines on stderr or in systemd's journal, and traces.

mod journald;

use std::{
    env,
    io::{self, IsTerminal},
};

use opentelemetry_sdk::trace::SdkTracerProvider;
use secrecy::SecretString;
use serde::Deserialize;
use tracing::warn;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt::format::FmtSpan, layer::SubscriberExt, util::SubscriberInitExt,
};

use self::journald::Journald;
use crate::traces::{self, Collector};

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
    /// Where traces are posted; empty for nowhere.
    pub traces: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people; in the journal with each field beside the line, where stderr is it.
    Text,
    /// One JSON object per line.
    Json,
    /// In the journal, also where stderr is not it.
    Journald,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: Format::Text,
            level: "info".to_owned(),
            spans: false,
            traces: String::new(),
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

    /// Where traces go.
    #[must_use]
    pub fn collector(&self) -> Option<Collector> {
        let said = |key| env::var_os(key)?.into_string().ok();
        let headers = [
            "OTEL_EXPORTER_OTLP_HEADERS",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        ];
        let headers: Vec<_> = headers.into_iter().filter_map(said).collect();
        (!self.traces.is_empty()).then(|| Collector {
            url: self.traces.clone(),
            headers: SecretString::from(headers.join(",")),
        })
    }

    /// Whether traces go nowhere, or somewhere that can be.
    #[must_use]
    pub fn has_valid_traces(&self) -> bool {
        self.traces.is_empty() || traces::is_url(&self.traces)
    }
}

/// Layers of one subscriber.
type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// What is said and not sent yet.
#[derive(Debug)]
#[must_use = "what is left of traces is sent at the end"]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Sends what is left, for a few seconds at most.
    pub async fn finish(self) {
        if let Some(traces) = self.0 {
            // It waits for a thread of its own, and that one for our runtime.
            let ended = tokio::task::spawn_blocking(move || traces.shutdown()).await;
            if let Ok(Err(error)) = ended {
                warn!(%error, "the last traces were not sent");
            }
        }
    }
}

/// Starts logging, within a runtime; traces are those of `service`. A second call in one process changes nothing.
pub fn start(config: &Config, service: &'static str) -> Telemetry {
    let (lines, no_journal) = lines(config);
    // The level was checked with the rest of the configuration.
    let filter = config.filter().unwrap_or_default();
    let mut layers: Vec<Lines> = vec![Box::new(lines.with_filter(filter))];
    let (mut provider, mut no_traces) = (None, None);
    if let Some(collector) = config.collector() {
        match traces::provider(&collector, service) {
            Ok(sends) => {
                layers.push(traces::layer(&sends));
                provider = Some(sends);
            }
            Err(error) => no_traces = Some(error),
        }
    }
    let started = tracing_subscriber::registry().with(layers).try_init();
    drop(started);
    if let Some(error) = no_journal {
        warn!(%error, "the journal cannot be reached: lines are on stderr");
    }
    if let Some(error) = no_traces {
        warn!(%error, "no traces are sent");
    }
    Telemetry(provider)
}

/// How lines are written, and why it is not the journal where it should be.
fn lines(config: &Config) -> (Lines, Option<io::Error>) {
    let ends = if config.spans {
        FmtSpan::CLOSE
    } else {
        FmtSpan::NONE
    };
    let plain = tracing_subscriber::fmt::layer()
        .with_span_events(ends)
        .with_writer(io::stderr);
    let text = plain
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    let journal = match config.format {
        Format::Json => return (text.with_target(true).json().boxed(), None),
        Format::Text if !journald::is_stderr() => return (text.boxed(), None),
        Format::Text | Format::Journald => Journald::connect(config.spans),
    };
    match journal {
        Ok(journal) => (journal.boxed(), None),
        Err(error) => (text.boxed(), Some(error)),
    }
}
