//! What the store is filled with: traces of some services with lines, as production has them.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

/// The spans of a trace, one of each service in turn.
pub(super) const SPANS_OF_TRACE: u64 = 8;

/// Every other span has a line.
pub(super) const SPANS_OF_LINE: u64 = 2;

/// The traces of a request.
const TRACES: u64 = 64;

/// One trace of this many has the values that are rare.
pub(super) const RARE: u64 = 10_000;

const SERVICES: u64 = 12;
const ROUTES: u64 = 40;

/// Requests of spans and of their lines, from old to new.
pub(super) struct Content {
    next: u64,
}

/// A request of spans, and one of lines.
pub(super) struct Requests {
    pub(super) traces: Vec<u8>,
    pub(super) logs: Vec<u8>,
    pub(super) spans: u64,
}

pub(super) fn text(key: &str, value: String) -> KeyValue {
    any(key, Value::StringValue(value))
}

pub(super) fn any(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// Spreads a number over all bits.
fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

pub(super) fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Content {
    pub(super) const fn new() -> Self {
        Self { next: 1 }
    }

    /// Returns the next requests, whose traces start now.
    pub(super) fn next(&mut self) -> Requests {
        let now = now_nanos();
        let mut spans: Vec<Vec<Span>> = (0..SERVICES).map(|_| Vec::new()).collect();
        let mut lines: Vec<Vec<LogRecord>> = (0..SERVICES).map(|_| Vec::new()).collect();
        for trace in self.next..self.next + TRACES {
            for n in 0..SPANS_OF_TRACE {
                let service = (mix(trace) + n) % SERVICES;
                let span = span(trace, n, service, now);
                if n % SPANS_OF_LINE == 0 {
                    lines[service as usize].push(line(trace, &span));
                }
                spans[service as usize].push(span);
            }
        }
        self.next += TRACES;
        let resource = |service: usize| {
            let attributes = vec![
                text("service.name", format!("service-{service}")),
                text("k8s.namespace.name", "shop".to_owned()),
                text("k8s.pod.name", format!("service-{service}-5d9c7b8f6-x{}", self.next / 4096)),
            ];
            Some(Resource { attributes, ..Default::default() })
        };
        let resource_spans = spans.into_iter().enumerate().map(|(service, spans)| ResourceSpans {
            resource: resource(service),
            scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
            ..Default::default()
        });
        let resource_logs = lines.into_iter().enumerate().map(|(service, log_records)| ResourceLogs {
            resource: resource(service),
            scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
            ..Default::default()
        });
        Requests {
            traces: ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec(),
            logs: ExportLogsServiceRequest { resource_logs: resource_logs.collect() }.encode_to_vec(),
            spans: TRACES * SPANS_OF_TRACE,
        }
    }
}

fn span_id(trace: u64, n: u64) -> Vec<u8> {
    mix(trace * SPANS_OF_TRACE + n + 1).max(1).to_be_bytes().to_vec()
}

fn span(trace: u64, n: u64, service: u64, now: u64) -> Span {
    let random = mix(trace * 31 + n);
    let route = random % ROUTES;
    let status = match random / 64 % 1000 {
        0..10 => 503,
        10..20 => 500,
        20..60 => 404,
        60..100 => 204,
        _ => 200,
    };
    // A hundredth takes a second and more.
    let took = 1_000_000 + random % 50_000_000 + if random.is_multiple_of(97) { 1_000_000_000 } else { 0 };
    let is_rare = trace.is_multiple_of(RARE) && n == 3;
    let user = if is_rare { "rare".to_owned() } else { format!("user-{}", random % 100_000) };
    Span {
        trace_id: [mix(trace).to_be_bytes(), mix(!trace).to_be_bytes()].concat(),
        span_id: span_id(trace, n),
        parent_span_id: if n == 0 { Vec::new() } else { span_id(trace, (n - 1) / 2) },
        name: if is_rare { "PATCH /rare".to_owned() } else { format!("GET /route-{route}/{{id}}") },
        kind: 2,
        start_time_unix_nano: now + n * 1_000_000,
        end_time_unix_nano: now + n * 1_000_000 + took,
        attributes: vec![
            text("http.request.method", "GET".to_owned()),
            text("http.route", if is_rare { "/rare".to_owned() } else { format!("/route-{route}/{{id}}") }),
            any("http.response.status_code", Value::IntValue(if is_rare { 418 } else { status })),
            text("url.path", format!("/route-{route}/{random}")),
            text("server.address", format!("service-{service}.shop.svc.cluster.local")),
            text("client.address", format!("10.0.{}.{}", random % 8, random % 250)),
            text("user.id", user),
            any("http.response.body.size", Value::IntValue((random % 5000) as i64)),
        ],
        status: (status >= 500).then(|| Status { code: 2, message: "upstream failed".to_owned() }),
        ..Default::default()
    }
}

fn line(trace: u64, span: &Span) -> LogRecord {
    let random = mix(trace * 17 + span.start_time_unix_nano % 1000);
    let is_error = span.status.is_some();
    let message = match random % 4 {
        _ if trace.is_multiple_of(RARE) => "the extraordinary reconciliation was abandoned".to_owned(),
        _ if is_error => format!("card of order {} was declined by the bank", random % 1_000_000),
        0 => format!("loaded basket {} with {} items", random % 1_000_000, random % 20),
        1 => format!("cache miss for key basket:{}", random % 1_000_000),
        2 => "request completed".to_owned(),
        _ => format!("SELECT * FROM products WHERE id = {} took {} ms", random % 10_000, random % 90),
    };
    LogRecord {
        time_unix_nano: span.start_time_unix_nano + 500_000,
        severity_number: if is_error { 17 } else { [9, 9, 5, 13][(random % 4) as usize] },
        body: Some(AnyValue { value: Some(Value::StringValue(message)) }),
        attributes: vec![text("thread", format!("worker-{}", random % 16))],
        trace_id: span.trace_id.clone(),
        span_id: span.span_id.clone(),
        ..Default::default()
    }
}
