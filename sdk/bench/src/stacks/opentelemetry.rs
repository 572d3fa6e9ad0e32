//! OpenTelemetry: `tracing-opentelemetry` makes a span of OpenTelemetry from each of `tracing`, and `json-subscriber`
//! writes its ids into the lines.
//!
//! Spans are sampled and recorded, but no processor takes them: what an exporter costs comes on top.

use std::convert::Infallible;
use std::hint::black_box;

use http::{HeaderMap, Request, Response};
use http_body::Body;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, global};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_propagator_b3::{B3Encoding, Propagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tower::Service;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::by_hand::{HandOn, logged, user_agent};
use super::subscribers::levels;
use crate::case::Case;
use crate::measure::Meter;
use crate::sink::Sink;
use crate::work::{self, RequestBody, Respond};

pub(super) fn run(meter: &mut Meter) -> Result<(), String> {
    let provider = SdkTracerProvider::builder().build();
    let json = json_subscriber::layer().with_writer(|| Sink).with_opentelemetry_ids(true);
    levels()
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("shop")))
        .with(json)
        .try_init()
        .map_err(|error| error.to_string())?;
    global::set_text_map_propagator(TraceContextPropagator::new());

    work::lines(meter);
    work::serve(meter, server());
    info_span!("request").in_scope(|| {
        work::call(meter, client());
        meter.run(Case::CurrentIds, || {
            black_box(Span::current().context().span().span_context().trace_id());
        });
    });
    hop(meter, Case::HopW3c, &TraceContextPropagator::new());
    hop(meter, Case::HopB3, &Propagator::with_encoding(B3Encoding::MultipleHeader));
    Ok(())
}

/// A span joins the trace of the request. The names of its fields are those of the semantic conventions.
fn server() -> impl Service<Request<RequestBody>, Response = Response<impl Body>, Error = Infallible> {
    logged(Respond, |request| {
        let span = info_span!(
            "request",
            otel.kind = "server",
            http.request.method = %request.method(),
            url.full = %request.uri(),
            network.protocol.version = ?request.version(),
            user_agent.original = user_agent(request.headers()),
        );
        let headers = HeaderExtractor(request.headers());
        let parent = global::get_text_map_propagator(|propagator| propagator.extract(&headers));
        let _ = span.set_parent(parent);
        span
    })
}

/// A span for each call, whose ids are in the headers.
fn client() -> impl Service<Request<RequestBody>, Response = Response<impl Body>, Error = Infallible> {
    logged(HandOn { inner: Respond, inject }, |request| {
        info_span!(
            "call",
            otel.kind = "client",
            http.request.method = %request.method(),
            url.full = %request.uri(),
            network.protocol.version = ?request.version(),
        )
    })
}

fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeaderInjector(headers));
    });
}

/// Extracts the context of a request, and injects it into the next.
fn hop(meter: &mut Meter, case: Case, propagator: &dyn TextMapPropagator) {
    let root = Context::new();
    let incoming = work::incoming();
    let mut outgoing = HeaderMap::new();
    meter.run(case, || {
        let context = propagator.extract_with_context(&root, &HeaderExtractor(black_box(&incoming)));
        propagator.inject_context(&context, &mut HeaderInjector(&mut outgoing));
    });
}
