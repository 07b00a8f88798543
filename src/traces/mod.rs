//! Traces over all processes: the steps of orders, browser starts and releases, sent to a collector (OTLP).
//!
//! ```text
//!          traceparent      traceparent                  traceparent
//!   client ──────────▶ api ────────────▶ node ──────────────────────▶ relay
//!          POST /v1/sessions   Provision ─ provision ─ launch, give   Expect, Attach, Bind
//!               └──────────────────┴───────────────┬────────────────────┘
//!                                              collector
//! ```
//!
//! Each process sends its own spans. What joins them is the W3C header `traceparent`, in a client's request and in
//! the metadata of each gRPC call ([`carry`], [`Continue`]), and within a process the [`Trace`] that goes along with
//! an order from task to task. Without a collector there are no spans, and nothing of this is made.
//!
//! A span's attributes are never a secret: a session's id is printed in part, a path is its route.

mod calls;
mod exporter;
mod parent;

use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

pub use calls::{Calls, Carry, Continue, carry};
pub use exporter::{Collector, TracesFailed, is_url, layer, provider};

/// The step that something is part of, here or in another process; perhaps none. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<SpanContext>);

impl Trace {
    /// None.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Of what is being done now.
    #[must_use]
    pub fn current() -> Self {
        let span = Span::current();
        if span.is_disabled() {
            return Self::none();
        }
        let context = span.context();
        let of = context.span().span_context().clone();
        Self(of.is_valid().then_some(of))
    }

    /// Whether there is one.
    #[must_use]
    pub const fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Makes `span` a step of it; not begun yet.
    #[must_use]
    pub fn lead(&self, span: Span) -> Span {
        if let Some(of) = self.0.as_ref().filter(|_| !span.is_disabled()) {
            // Without a collector there is no layer that would take it.
            drop(span.set_parent(Context::new().with_remote_span_context(of.clone())));
        }
        span
    }

    /// The same as a context of OpenTelemetry's; `None` where there is none.
    #[must_use]
    pub fn context(&self) -> Option<Context> {
        let of = self.0.clone()?;
        Some(Context::new().with_remote_span_context(of))
    }
}
