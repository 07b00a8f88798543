//! gRPC calls as steps: whoever calls says of which step, whoever is called goes on with it.

use std::{
    sync::Arc,
    task::{Context as Poller, Poll},
};

use futures::future::{BoxFuture, Either, FutureExt};
use hyper::Request;
use opentelemetry::{
    Context,
    trace::{SpanKind, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use parking_lot::RwLock;
use tonic::{Status, metadata::MetadataMap};
use tower::{Layer, Service};
use tracing::{Instrument, Span, debug_span, instrument::Instrumented, warn};

use super::{Collector, Trace, provider};

/// What [`carry`] is.
pub type Carry = fn(tonic::Request<()>) -> Result<tonic::Request<()>, Status>;

/// Interceptor of a client: its calls are part of what is being done.
///
/// # Errors
/// Never; an interceptor could.
pub fn carry(mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
    let trace = Trace::current();
    if trace.is_some() {
        let metadata = request.metadata_mut();
        let mut headers = std::mem::take(metadata).into_headers();
        trace.write(&mut headers);
        *metadata = MetadataMap::from_headers(headers);
    }
    Ok(request)
}

/// A call's name, as OpenTelemetry wants it: the path without its slash. What is none of ours is not repeated.
fn name(path: &str) -> String {
    let name = path.trim_start_matches('/');
    if name.starts_with("chaser.") && name.len() < 100 {
        name.to_owned()
    } else {
        "unknown".to_owned()
    }
}

/// Layer of a server: a call that is part of a trace is a step of it, and what is done for it are steps of that.
#[derive(Debug, Clone, Copy)]
pub struct Continue;

/// A server that does so.
#[derive(Debug, Clone)]
pub struct Continued<S>(S);

impl<S> Layer<S> for Continue {
    type Service = Continued<S>;

    fn layer(&self, inner: S) -> Continued<S> {
        Continued(inner)
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Continued<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Instrumented<S::Future>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(poller)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let trace = Trace::of(request.headers());
        let span = if trace.is_some() {
            let name = name(request.uri().path());
            trace.lead(debug_span!("call", otel.name = name, otel.kind = "server"))
        } else {
            Span::none()
        };
        self.0.call(request).instrument(span)
    }
}

/// Layer of a server that has no steps of its own, such as a relay: a call that is part of a trace is one. Where to
/// they are sent is said later, and by whom it serves. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Calls {
    service: &'static str,
    sent: Arc<RwLock<Option<Sent>>>,
}

#[derive(Debug)]
struct Sent {
    to: Collector,
    provider: SdkTracerProvider,
}

impl Calls {
    /// Those of `service`, sent nowhere yet.
    #[must_use]
    pub fn of(service: &'static str) -> Self {
        let sent = Arc::default();
        Self { service, sent }
    }

    /// From now on they are sent there; within a runtime.
    pub fn sent_to(&self, to: Option<Collector>) {
        let before = {
            let mut sent = self.sent.write();
            if sent.as_ref().map(|sent| &sent.to) == to.as_ref() {
                return;
            }
            let next = to.and_then(|to| match provider(&to, self.service) {
                Ok(provider) => Some(Sent { to, provider }),
                Err(error) => {
                    warn!(%error, "no traces are sent");
                    None
                }
            });
            std::mem::replace(&mut *sent, next)
        };
        if let Some(before) = before {
            // It waits for a thread of its own; nobody waits for that.
            drop(tokio::task::spawn_blocking(move || {
                before.provider.shutdown()
            }));
        }
    }

    /// Sends what is left, for a few seconds at most.
    pub async fn finish(&self) {
        let last = self.sent.write().take();
        if let Some(last) = last {
            let ended = tokio::task::spawn_blocking(move || last.provider.shutdown()).await;
            if let Ok(Err(error)) = ended {
                warn!(%error, "the last traces were not sent");
            }
        }
    }

    /// The step, begun; it ends when it is dropped.
    fn begin<B>(&self, request: &Request<B>) -> Option<Context> {
        let sent = self.sent.read();
        let sent = sent.as_ref()?;
        let parent = Trace::of(request.headers()).context()?;
        let tracer = sent.provider.tracer("chaser");
        let step = tracer
            .span_builder(name(request.uri().path()))
            .with_kind(SpanKind::Server)
            .start_with_context(&tracer, &parent);
        Some(parent.with_span(step))
    }
}

/// A server that does so.
#[derive(Debug, Clone)]
pub struct Called<S> {
    calls: Calls,
    inner: S,
}

impl<S> Layer<S> for Calls {
    type Service = Called<S>;

    fn layer(&self, inner: S) -> Called<S> {
        let calls = self.clone();
        Called { calls, inner }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Called<S>
where
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let step = self.calls.begin(&request);
        let answer = self.inner.call(request);
        match step {
            None => Either::Left(answer),
            Some(step) => Either::Right(answer.inspect(move |_| step.span().end()).boxed()),
        }
    }
}
