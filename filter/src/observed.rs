//! What is known of a request when it is over: [`log`] makes its line and its span of it.

use core::time::Duration;
use std::borrow::Cow;

use logtracer_core::line::{self, Line, Severity, Text};
use logtracer_core::otlp;
use logtracer_core::request::{Exchange, Outcome, url};
use logtracer_core::span::{Link, Span, SpanKind, SpanStatus};

use crate::config::Config;
use crate::decision::Reason;
use crate::flags;
use crate::grpc_status::GrpcStatus;
use crate::host::{self, Map};
use crate::kept::Protocol;
use crate::metrics::{self, Metric};
use crate::properties::{LONG, Properties};
use crate::recorded::Recorded;
use crate::root::Plugin;
use crate::stream::Request;

/// Writes the line of a request that is over to its filter state, and its span to the batch.
pub(crate) fn log(plugin: &Plugin, request: &Request) {
    if plugin.config.log_format.is_none() && !may_be_exported(&plugin.config, request) {
        return;
    }
    let properties = Properties::read(plugin.properties.as_ref());
    let kept = &request.kept;
    let grpc_status = grpc_status(request);
    let mut full = Vec::with_capacity(16 + kept.authority.len() + kept.target.len());
    url::write_full(&mut full, &kept.scheme, &kept.authority, &kept.target);
    let exchange = Exchange {
        method: &kept.method,
        scheme: &kept.scheme,
        authority: &kept.authority,
        target: &kept.target,
        url: &full,
        protocol: &properties.protocol,
        user_agent: &kept.user_agent,
        referer: &kept.referer,
        remote_ip: url::without_port(&properties.remote),
        server_ip: url::without_port(&properties.upstream),
        request_size: properties.request_size,
        response_size: properties.response_size,
        route: &properties.route,
        outcome: outcome(kept.protocol, &properties, grpc_status.as_ref().map(|status| status.code)),
        grpc_message: grpc_status.as_ref().map_or(b"", |status| &status.message),
        duration: Duration::from_nanos(properties.duration),
    };
    let observed = Observed { plugin, request, exchange, properties: &properties };
    let format = plugin.config.log_format.filter(|_| observed.is_logged());
    let export = if may_be_exported(&plugin.config, request) { observed.export() } else { None };
    if format.is_none() && export.is_none() {
        return;
    }
    // Only what is told is read: the response's headers are one more call into Envoy.
    let recorded = Recorded::read(&plugin.config, kept);
    if let Some(format) = format {
        let mut bytes = Vec::with_capacity(1024);
        observed.write_line(format, &recorded, &mut bytes);
        host::set_property("logtracer", &bytes);
        metrics::count(Metric::Lines);
    }
    if let Some(export) = export {
        plugin.record(|out| observed.write_span(export, &recorded, out));
    }
}

/// Whether a span can come of the request, however it ended.
fn may_be_exported(config: &Config, request: &Request) -> bool {
    let is_sampled = request.decision.context.sampling.is_sampled();
    let may_be_late = config.sampling.keep_errors || config.sampling.keep_slower_than.is_some();
    let may_leave_one = !request.is_excluded && !request.is_export;
    config.exporter.is_some() && may_leave_one && (is_sampled || may_be_late)
}

/// What a call of gRPC says of its end: in the trailers, or in the headers of a response that is nothing else.
fn grpc_status(request: &Request) -> Option<Cow<'_, GrpcStatus>> {
    match &request.grpc_status {
        Some(status) => Some(Cow::Borrowed(status)),
        None if request.kept.protocol == Protocol::Http => None,
        None => GrpcStatus::read(Map::Response).map(Cow::Owned),
    }
}

/// How the request ended.
fn outcome(protocol: Protocol, properties: &Properties, grpc_code: Option<u32>) -> Outcome {
    let is_cancelled = has_gone_away(properties);
    match (protocol, u16::try_from(properties.status).unwrap_or(0)) {
        (Protocol::Http, 0) if is_cancelled => Outcome::Aborted,
        (Protocol::Http, 0) => Outcome::Http(unsent_status(properties)),
        (Protocol::Http, http) => Outcome::Http(http),
        (_, http) if is_cancelled && grpc_code.is_none() => Outcome::cancelled_grpc(http),
        (_, 0) => Outcome::from_grpc(None, unsent_status(properties)),
        (Protocol::Grpc, http) => Outcome::from_grpc(grpc_code, http),
        (Protocol::GrpcWeb, http) => Outcome::from_grpc_web(grpc_code, http),
    }
}

/// True where the caller went away; Envoy raises the same flag where it has closed the connection itself.
fn has_gone_away(properties: &Properties) -> bool {
    flags::caller_went_away(properties.flags)
        && !properties.code_details.starts_with(b"downstream_local_disconnect")
}

/// The status that there was no more time to send, of a request whose caller has waited for it.
fn unsent_status(properties: &Properties) -> u16 {
    if flags::caller_broke_the_protocol(properties.flags) { 400 } else { 503 }
}

/// Why a span is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Export {
    /// Its trace is sampled.
    Sampled,
    /// It failed or was slow; the rest of the trace is not recorded.
    Late,
}

/// A request that is over, from all sides.
struct Observed<'o> {
    plugin: &'o Plugin,
    request: &'o Request,
    exchange: Exchange<'o>,
    properties: &'o Properties,
}

impl Observed<'_> {
    /// Rule 69: failures are logged whatever is configured.
    fn is_logged(&self) -> bool {
        let is_silent =
            !self.request.decision.log || (self.request.is_excluded && self.plugin.config.exclude.log);
        !is_silent || self.exchange.outcome.severity() == Severity::Error
    }

    fn export(&self) -> Option<Export> {
        if self.request.decision.context.sampling.is_sampled() {
            return Some(Export::Sampled);
        }
        let sampling = &self.plugin.config.sampling;
        let failed = || self.exchange.outcome.span_status(self.plugin.kind()) == SpanStatus::Error;
        let is_kept = (sampling.keep_errors && failed())
            || sampling.keep_slower_than.is_some_and(|longest| self.exchange.duration > longest);
        is_kept.then_some(Export::Late)
    }

    fn write_line(&self, format: line::Format, recorded: &Recorded<'_>, out: &mut Vec<u8>) {
        let mut line = Line::new(out, format, self.plugin.config.project_id.as_deref());
        let is_outbound = self.plugin.kind() == SpanKind::Client;
        line.severity(self.exchange.outcome.severity())
            .time(self.properties.end())
            .message(|text| {
                text.push(&self.plugin.service_name);
                text.push(" - ");
                self.exchange.write_message(text);
            })
            .http_request(&self.exchange.http_request())
            .trace(&self.request.decision.context)
            .labels(|labels| {
                labels.text("direction", if is_outbound { "outbound" } else { "inbound" });
                labels.text("route", self.exchange.named_route());
                labels.text("upstream_cluster", &self.properties.cluster);
                labels.text("response_flags", flags::letters(self.properties.flags));
                labels.text("response_code_details", remarkable(&self.properties.code_details));
                for (name, values) in recorded.iter() {
                    if values.clone().any(|value| !value.is_empty()) {
                        labels.write(name, |text| write_list(text, values));
                    }
                }
            });
        line.finish();
    }

    fn write_span(&self, export: Export, recorded: &Recorded<'_>, out: &mut Vec<u8>) {
        let kind = self.plugin.kind();
        let decision = &self.request.decision;
        let mut name = Vec::with_capacity(64);
        self.exchange.write_span_name(&mut name);
        let tracestate = self.request.tracestate.as_str();
        let span = Span {
            context: decision.context,
            tracestate: if decision.link.is_some() { "" } else { tracestate },
            name: &name,
            kind,
            start_unix_nanos: self.properties.start,
            end_unix_nanos: self.properties.end(),
            status: self.exchange.outcome.span_status(kind),
            link: decision.link.map(|context| Link { context, tracestate }),
        };
        otlp::write_span(out, &span, |attributes| {
            self.exchange.write_attributes(kind, attributes);
            // Envoy's own tracers use these names.
            attributes.text("upstream_cluster", &self.properties.cluster);
            attributes.text("upstream_address", &self.properties.upstream);
            attributes.text("response_flags", flags::letters(self.properties.flags));
            attributes.text("response_code_details", remarkable(&self.properties.code_details));
            if self.properties.attempts > 1 {
                attributes.number("upstream_request_attempt_count", self.properties.attempts);
            }
            if let Some(first_byte) = self.time_to_first_byte() {
                attributes.number("logtracer.time_to_first_byte_ns", first_byte);
            }
            if decision.reason != Reason::Parent {
                attributes.text("logtracer.sampling.reason", decision.reason.as_str());
            }
            if export == Export::Late {
                attributes.boolean("logtracer.late", true);
            }
            for (name, values) in recorded.iter() {
                attributes.texts(name, values);
            }
        });
    }

    /// Rule 56: the duration of a stream is its life; what its caller waited for is the first byte.
    ///
    /// Envoy counts from the request's end, which has not come where the caller still sends.
    fn time_to_first_byte(&self) -> Option<u64> {
        let is_tunnel = self.exchange.method == b"CONNECT" || self.exchange.outcome == Outcome::Http(101);
        let may_stream = is_tunnel || self.exchange.duration >= LONG;
        match self.request.response_began {
            _ if !may_stream => None,
            0 => host::number_property("response\0backend_latency"),
            began => Some(began.saturating_sub(self.properties.start)),
        }
    }
}

/// The values of a header as one text, as they could stand on one line.
fn write_list<'v>(text: &mut Text<'_>, values: impl Iterator<Item = &'v [u8]>) {
    for (index, value) in values.enumerate() {
        if index > 0 {
            text.push(", ");
        }
        text.push_bytes(value);
    }
}

/// The code details, unless they say what nearly all do: that the upstream answered.
fn remarkable(code_details: &[u8]) -> &[u8] {
    if code_details == b"via_upstream" { b"" } else { code_details }
}
