//! Sending to a collector (OTLP, protobuf over HTTP), from a queue that is bounded and blocks nobody.

use std::{
    collections::HashMap,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, Uri};
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use secrecy::{ExposeSecret, SecretString};
use tokio::{runtime::Handle, time::timeout};
use tracing::{Level, Metadata, info, warn};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, filter_fn},
    registry::LookupSpan,
};

use crate::tls::{self, Https};

/// How long one letter to the collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// As much of its answer as is read.
const MAX_ANSWER: usize = 64 << 10;

/// Why no traces are sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TracesFailed {
    /// What `https` takes.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The exporter.
    #[error(transparent)]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Where traces are sent.
#[derive(Debug, Clone)]
pub struct Collector {
    /// As [`is_url`] wants it.
    pub url: String,
    /// What is sent along: `key=value`, separated by commas, percent-encoded, as OTEL_EXPORTER_OTLP_HEADERS has it.
    pub headers: SecretString,
}

impl PartialEq for Collector {
    fn eq(&self, other: &Self) -> bool {
        let headers = |of: &Self| of.headers.expose_secret().to_owned();
        self.url == other.url && headers(self) == headers(other)
    }
}

impl Collector {
    fn headers(&self) -> HashMap<String, String> {
        let pairs = self.headers.expose_secret().split(',');
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect()
    }
}

/// Whether `url` is one that traces can be sent to.
#[must_use]
pub fn is_url(url: &str) -> bool {
    url.parse::<Uri>()
        .is_ok_and(|uri| uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https")))
}

/// Who sends what `service` does; within a runtime.
///
/// # Errors
/// [`TracesFailed`]: nothing is sent then.
pub fn provider(to: &Collector, service: &'static str) -> Result<SdkTracerProvider, TracesFailed> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&to.url)
        .with_headers(to.headers())
        .with_timeout(PATIENCE)
        .with_http_client(Poster {
            https: tls::https(None)?,
            runtime: Handle::current(),
            refused: AtomicBool::new(false),
        })
        .build()?;
    let host = nix::unistd::gethostname().unwrap_or_default();
    let about = [
        KeyValue::new("service.namespace", "chaser"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("host.name", host.to_string_lossy().into_owned()),
    ];
    let resource = Resource::builder_empty().with_service_name(service);
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.with_attributes(about).build())
        .build())
}

/// What collects the steps for it.
#[must_use]
pub fn layer<S>(provider: &SdkTracerProvider) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_location(false)
        .with_threads(false)
        .with_tracer(provider.tracer("chaser"))
        .with_filter(filter_fn(is_told).with_max_level_hint(LevelFilter::DEBUG))
        .boxed()
}

/// Steps, and what is said within them; a task lasts as long as the process and is no step.
fn is_told(metadata: &Metadata<'_>) -> bool {
    let level = *metadata.level();
    let worth = if metadata.is_span() {
        metadata.name() != "task" && level <= Level::DEBUG
    } else {
        level <= Level::INFO
    };
    worth && metadata.target().starts_with("chaser")
}

/// Posts from the exporter's own thread, on our runtime.
struct Poster {
    https: Https,
    runtime: Handle,
    /// Whether the last letter was not taken: that is told once.
    refused: AtomicBool,
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").finish_non_exhaustive()
    }
}

impl Poster {
    fn note(&self, why: Option<&dyn fmt::Display>) {
        match (self.refused.swap(why.is_some(), Ordering::Relaxed), why) {
            (false, Some(error)) => warn!(%error, "the collector takes no traces: they are lost"),
            (true, None) => info!("the collector takes traces again"),
            (true, Some(_)) | (false, None) => {}
        }
    }
}

#[tonic::async_trait]
impl HttpClient for Poster {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sending = self.https.request(request.map(Full::new));
        let posting = async {
            let (head, body) = sending.await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?;
            Ok::<_, HttpError>(Response::from_parts(head, body.to_bytes()))
        };
        // The limit's timer is made where there is one: in our runtime.
        let posted = self
            .runtime
            .spawn(async { timeout(PATIENCE, posting).await });
        let answer = match posted.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(elapsed)) => Err(elapsed.into()),
            Err(gone) => Err(gone.into()),
        };
        match &answer {
            Ok(answer) if answer.status().is_success() => self.note(None),
            Ok(answer) => self.note(Some(&answer.status())),
            Err(error) => self.note(Some(error)),
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_by_a_whole_url() {
        assert!(is_url("http://127.0.0.1:4318/v1/traces"));
        assert!(is_url("https://collector.example/v1/traces"));
        for not in ["", "collector:4318", "grpc://collector:4317", "/v1/traces"] {
            assert!(!is_url(not), "{not}");
        }
    }
}
