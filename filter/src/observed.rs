//! What is known of a request when it is over: [`log`] makes its line and its span of it.

use core::time::Duration;

use logtracer_core::line::{self, Line};
use logtracer_core::otlp;
use logtracer_core::request::url::{self, Query};
use logtracer_core::request::{Exchange, Outcome, grpc};
use logtracer_core::span::{Kind, Span};

use crate::metrics::{self, Metric};
use crate::root::Plugin;
use crate::stream::Request;
use crate::{flags, host};

/// The longest part of a request that is kept while it lasts.
const MAX_KEPT: usize = 8 * 1024;

/// The parts of a request's headers that its line and span tell, in memory of their own while the request lasts.
///
/// While the headers are read they are borrowed ([`Kept::see`]), then copied into one buffer ([`Kept::own`]).
#[derive(Debug, Default)]
pub(crate) struct Kept<T = Vec<u8>> {
    method: T,
    scheme: T,
    authority: T,
    target: T,
    user_agent: T,
    referer: T,
    is_grpc: bool,
}

impl<'h> Kept<&'h [u8]> {
    /// Takes note of one header line.
    pub(crate) fn see(&mut self, name: &[u8], value: &'h [u8]) {
        let value = value.get(..MAX_KEPT).unwrap_or(value);
        match name {
            b":method" => self.method = value,
            b":scheme" => self.scheme = value,
            b":authority" => self.authority = value,
            b":path" => self.target = value,
            b"user-agent" => self.user_agent = value,
            b"referer" => self.referer = value,
            b"content-type" => self.is_grpc = grpc::is_content_type(value),
            _ => {}
        }
    }

    /// A copy that outlives the headers; values of queries do not get that far.
    pub(crate) fn own(&self, query: Query) -> Kept {
        let redacted = |target: &[u8]| {
            let mut out = Vec::with_capacity(target.len());
            url::write_target(&mut out, target, query);
            out
        };
        Kept {
            method: self.method.to_vec(),
            scheme: self.scheme.to_vec(),
            authority: self.authority.to_vec(),
            target: redacted(self.target),
            user_agent: self.user_agent.to_vec(),
            referer: redacted(self.referer),
            is_grpc: self.is_grpc,
        }
    }
}

/// What Envoy tells of a request that is over; texts that it does not know are empty.
struct Properties {
    protocol: Vec<u8>,
    remote: Vec<u8>,
    upstream: Vec<u8>,
    cluster: Vec<u8>,
    route: Vec<u8>,
    code_details: Vec<u8>,
    flags: u64,
    attempts: u64,
    start: u64,
    duration: u64,
}

impl Properties {
    fn read() -> Self {
        let text = |path| host::property(path).unwrap_or_default();
        let number = |path| host::number_property(path).unwrap_or_default();
        let start = number("request\0time");
        Self {
            protocol: text("request\0protocol"),
            remote: text("source\0address"),
            upstream: text("upstream\0address"),
            cluster: text("xds\0cluster_name"),
            route: text("xds\0route_name"),
            code_details: text("response\0code_details"),
            flags: number("response\0flags"),
            attempts: number("upstream\0request_attempt_count"),
            start: if start == 0 { host::now_unix_nanos() } else { start },
            duration: number("request\0duration"),
        }
    }
}

/// Writes the line of a request that is over to its filter state, and its span to the batch.
pub(crate) fn log(plugin: &Plugin, request: &Request) {
    let properties = Properties::read();
    let kept = &request.kept;
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
        request_size: host::number_property("request\0total_size").unwrap_or_default(),
        response_size: host::number_property("response\0total_size").unwrap_or_default(),
        route: &properties.route,
        outcome: outcome(kept.is_grpc, properties.flags),
        duration: Duration::from_nanos(properties.duration),
    };
    if let Some(format) = plugin.config.log_format {
        let mut bytes = Vec::with_capacity(1024);
        write_line(plugin, request, format, &exchange, &properties, &mut bytes);
        host::set_property("logtracer", &bytes);
        metrics::count(Metric::Lines);
    }
    if let Some(exporter) = &plugin.config.exporter
        && request.context.sampling.is_sampled()
    {
        plugin.record(exporter, |out| write_span(plugin, request, &exchange, &properties, out));
    }
}

/// How the request ended; no status at all means that the caller went away before there was one.
fn outcome(is_grpc: bool, flags: u64) -> Outcome {
    let http = host::number_property("response\0code").and_then(|code| u16::try_from(code).ok()).unwrap_or(0);
    if http == 0 {
        return if is_grpc { Outcome::Grpc { code: grpc::CANCELLED, http: 499 } } else { Outcome::Aborted };
    }
    if is_grpc {
        let code = host::number_property("response\0grpc_status").and_then(|code| u32::try_from(code).ok());
        let aborted = flags::caller_went_away(flags);
        let missing = if aborted { grpc::CANCELLED } else { grpc::UNKNOWN };
        return Outcome::Grpc { code: code.unwrap_or(missing), http };
    }
    Outcome::Http(http)
}

fn write_line(
    plugin: &Plugin,
    request: &Request,
    format: line::Format,
    exchange: &Exchange<'_>,
    properties: &Properties,
    out: &mut Vec<u8>,
) {
    let mut line = Line::new(out, format, plugin.config.project_id.as_deref());
    line.severity(exchange.outcome.severity())
        .time(properties.start.saturating_add(properties.duration))
        .message(|text| {
            text.push(&plugin.service_name);
            text.push(" - ");
            exchange.write_message(text);
        })
        .http_request(&exchange.http_request())
        .trace(&request.context)
        .labels(|labels| {
            labels.text("direction", if plugin.kind() == Kind::Client { "outbound" } else { "inbound" });
            labels.text("route", exchange.named_route());
            labels.text("upstream_cluster", &properties.cluster);
            labels.text("response_flags", flags::letters(properties.flags));
            labels.text("response_code_details", remarkable(&properties.code_details));
        });
    line.finish();
}

fn write_span(
    plugin: &Plugin,
    request: &Request,
    exchange: &Exchange<'_>,
    properties: &Properties,
    out: &mut Vec<u8>,
) {
    let kind = plugin.kind();
    let mut name = Vec::with_capacity(64);
    exchange.write_span_name(&mut name);
    let span = Span {
        context: request.context,
        tracestate: &request.tracestate,
        name: &name,
        kind,
        start_unix_nanos: properties.start,
        end_unix_nanos: properties.start.saturating_add(properties.duration),
        status: exchange.outcome.span_status(kind),
    };
    otlp::write_span(out, &span, |attributes| {
        exchange.write_attributes(kind, attributes);
        // Envoy's own tracers use these names.
        attributes.text("upstream_cluster", &properties.cluster);
        attributes.text("upstream_address", &properties.upstream);
        attributes.text("response_flags", flags::letters(properties.flags));
        attributes.text("response_code_details", remarkable(&properties.code_details));
        if properties.attempts > 1 {
            attributes.number("upstream_request_attempt_count", properties.attempts);
        }
    });
}

/// The code details, unless they say what nearly all do: that the upstream answered.
fn remarkable(code_details: &[u8]) -> &[u8] {
    if code_details == b"via_upstream" { b"" } else { code_details }
}
