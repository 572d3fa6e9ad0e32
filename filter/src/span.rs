//! Decides whether a completed request has a span, and writes it.

use logtracer_core::otlp;
use logtracer_core::span::{Link, Span, SpanStatus};

use crate::captured_headers::CapturedHeaders;
use crate::completed::Completed;
use crate::config::Config;
use crate::decision::Reason;
use crate::host::LogHost;
use crate::properties::LONG_REQUEST;
use crate::request::Request;
use crate::response_flags;

/// Why a span is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExportReason {
    /// Its trace is sampled.
    Sampled,
    /// The request failed or was slow. The rest of the trace is not recorded.
    Late,
}

/// Returns whether any outcome of the request would lead to a span.
pub(crate) fn may_be_exported(config: &Config, request: &Request) -> bool {
    let is_sampled = request.decision.context.sampling.is_sampled();
    let may_be_late = config.sampling.keep_errors || config.sampling.keep_slower_than.is_some();
    let may_have_span = !request.is_excluded && !request.is_export;
    config.exporter.is_some() && may_have_span && (is_sampled || may_be_late)
}

/// Returns why the span of a request that [`may_be_exported`] is exported; `None` if it is not.
pub(crate) fn export_reason(completed: &Completed<'_>) -> Option<ExportReason> {
    let Completed { plugin, request, kind, exchange, .. } = completed;
    if request.decision.context.sampling.is_sampled() {
        return Some(ExportReason::Sampled);
    }
    let sampling = &plugin.config.sampling;
    let is_failed = || exchange.outcome.span_status(*kind) == SpanStatus::Error;
    let is_late = (sampling.keep_errors && is_failed()) || completed.is_slow();
    is_late.then_some(ExportReason::Late)
}

/// Appends the encoded span.
pub(crate) fn write(
    host: &impl LogHost,
    completed: &Completed<'_>,
    export_reason: ExportReason,
    captured: &CapturedHeaders<'_>,
    out: &mut Vec<u8>,
) {
    let Completed { request, properties, code_details, kind, exchange, .. } = completed;
    let decision = &request.decision;
    let mut name = Vec::with_capacity(64);
    exchange.write_span_name(&mut name);
    let tracestate = request.tracestate.as_str();
    let span = Span {
        context: decision.context,
        tracestate: if decision.link.is_some() { "" } else { tracestate },
        name: &name,
        kind: *kind,
        start_unix_nanos: properties.start,
        end_unix_nanos: properties.end(),
        status: exchange.outcome.span_status(*kind),
        link: decision.link.map(|context| Link { context, tracestate }),
    };
    otlp::write_span(out, &span, |attributes| {
        exchange.write_attributes(*kind, attributes);
        // The names that Envoy's own tracers use.
        attributes.text("upstream_cluster", properties.cluster);
        attributes.text("upstream_address", properties.upstream);
        attributes.text("response_flags", response_flags::letters(properties.response_flags));
        attributes.text("response_code_details", *code_details);
        if properties.attempts > 1 {
            attributes.number("upstream_request_attempt_count", properties.attempts);
        }
        if let Some(first_byte) = time_to_first_byte(host, completed) {
            attributes.number("logtracer.time_to_first_byte_ns", first_byte);
        }
        if decision.reason != Reason::Parent {
            attributes.text("logtracer.sampling.reason", decision.reason.as_str());
        }
        if export_reason == ExportReason::Late {
            attributes.boolean("logtracer.late", true);
        }
        for (name, values) in captured.iter() {
            attributes.texts(name, values);
        }
    });
}

/// Returns the nanoseconds until the first byte of a response that may stay open for long.
///
/// Rule 56: the duration of a stream is its lifetime; its caller waits for the first byte only. Envoy counts from the
/// end of the request, which is absent as long as the caller sends.
fn time_to_first_byte(host: &impl LogHost, completed: &Completed<'_>) -> Option<u64> {
    let exchange = &completed.exchange;
    let is_tunnel = completed.request.head.is_tunnel(exchange.outcome.status());
    let may_stream = is_tunnel || exchange.duration >= LONG_REQUEST;
    match completed.request.response_start {
        _ if !may_stream => None,
        0 => host.backend_latency_nanos(),
        start => Some(start.saturating_sub(completed.properties.start)),
    }
}
