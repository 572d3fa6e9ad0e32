//! The JSON API: `GET /api/traces` and `GET /api/traces/{trace_id}`.
//!
//! Times and durations are strings of nanoseconds, because JSON numbers are not precise enough.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use logtracer_core::TraceId;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{QueryError, View, query};
use crate::otlp::any_value;
use crate::store::{ReadLimit, StoredLine, StoredSpan, Trace, TraceSummary};

/// The query parameters of the list.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default = "default_limit")]
    limit: usize,
}

const MAX_LIMIT: usize = 1000;

/// The limit of one trace. A longer one is marked as truncated.
const LIMIT: ReadLimit = ReadLimit { rows: 20_000, bytes: 64 << 20 };

const fn default_limit() -> usize {
    100
}

/// `GET /api/traces`: the newest traces.
pub(super) async fn list(
    State(view): State<View>,
    parameters: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, QueryError> {
    let limit = match parameters {
        Ok(Query(parameters)) => parameters.limit.min(MAX_LIMIT),
        Err(rejection) => return Ok(error(StatusCode::BAD_REQUEST, &rejection.body_text())),
    };
    let traces = query(&view, move |store| store.newest(limit)).await?;
    let traces: Vec<_> = traces.iter().map(JsonSummary::from).collect();
    Ok(json_response(&json!({ "traces": traces })))
}

/// `GET /api/traces/{trace_id}`: one trace with its log lines.
pub(super) async fn trace(State(view): State<View>, Path(id): Path<String>) -> Result<Response, QueryError> {
    let Some(trace_id) = parse_trace_id(&id) else {
        return Ok(error(
            StatusCode::BAD_REQUEST,
            "invalid trace id: expected 32 hexadecimal digits that are not all zero",
        ));
    };
    match query(&view, move |store| store.trace_within(trace_id, LIMIT)).await? {
        Some(trace) => Ok(json_response(&JsonTrace::from(&trace))),
        None => Ok(error(StatusCode::NOT_FOUND, &format!("trace {trace_id} not found"))),
    }
}

/// Parses the trace id of a path.
pub(super) fn parse_trace_id(text: &str) -> Option<TraceId> {
    text.parse().ok()
}

/// Returns the kind of a span: "server", "client" and so on.
pub(super) fn kind(span: &StoredSpan) -> &'static str {
    match span.span.kind() {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

#[derive(Serialize)]
struct JsonSummary<'a> {
    trace_id: String,
    root_name: &'a str,
    service_names: &'a [String],
    span_count: u64,
    log_count: u64,
    error_count: u64,
    start_unix_nano: String,
    duration_nano: String,
}

impl<'a> From<&'a TraceSummary> for JsonSummary<'a> {
    fn from(trace: &'a TraceSummary) -> Self {
        Self {
            trace_id: trace.trace_id.to_string(),
            root_name: &trace.root_name,
            service_names: &trace.service_names,
            span_count: trace.span_count,
            log_count: trace.log_count,
            error_count: trace.error_count,
            start_unix_nano: trace.start_unix_nano.to_string(),
            duration_nano: trace.duration_nano.to_string(),
        }
    }
}

#[derive(Serialize)]
struct JsonTrace<'a> {
    trace_id: String,
    spans: Vec<JsonSpan<'a>>,
    logs: Vec<JsonLine<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl<'a> From<&'a Trace> for JsonTrace<'a> {
    fn from(trace: &'a Trace) -> Self {
        Self {
            trace_id: trace.summary.trace_id.to_string(),
            spans: trace.spans.iter().map(JsonSpan::from).collect(),
            logs: trace.lines.iter().map(JsonLine::from).collect(),
            truncated: trace.is_truncated,
        }
    }
}

#[derive(Serialize)]
struct JsonSpan<'a> {
    span_id: String,
    parent_span_id: Option<String>,
    name: &'a str,
    kind: &'static str,
    service_name: &'a str,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    status: JsonStatus<'a>,
    attributes: Value,
    events: Vec<Value>,
    links: Vec<Value>,
    resource: Value,
    scope: &'a str,
}

#[derive(Serialize)]
struct JsonStatus<'a> {
    code: &'static str,
    message: &'a str,
}

impl<'a> From<&'a StoredSpan> for JsonSpan<'a> {
    fn from(stored: &'a StoredSpan) -> Self {
        let span = &stored.span;
        let status = span.status.as_ref();
        Self {
            span_id: stored.span_id.to_string(),
            parent_span_id: stored.parent_span_id.map(|id| id.to_string()),
            name: &span.name,
            kind: kind(stored),
            service_name: &stored.emitter.service_name,
            start_time_unix_nano: span.start_time_unix_nano.to_string(),
            end_time_unix_nano: span.end_time_unix_nano.to_string(),
            status: JsonStatus {
                code: match status.map(|status| status.code()).unwrap_or_default() {
                    SpanStatus::Unset => "unset",
                    SpanStatus::Ok => "ok",
                    SpanStatus::Error => "error",
                },
                message: status.map_or("", |status| &status.message),
            },
            attributes: any_value::object(&span.attributes),
            events: span.events.iter().map(event).collect(),
            links: span.links.iter().map(link).collect(),
            resource: any_value::object(&stored.emitter.resource.attributes),
            scope: &stored.emitter.scope.name,
        }
    }
}

fn event(event: &Event) -> Value {
    json!({
        "name": event.name,
        "time_unix_nano": event.time_unix_nano.to_string(),
        "attributes": any_value::object(&event.attributes),
    })
}

fn link(link: &Link) -> Value {
    json!({
        "trace_id": hex::encode(&link.trace_id),
        "span_id": hex::encode(&link.span_id),
        "attributes": any_value::object(&link.attributes),
    })
}

#[derive(Serialize)]
struct JsonLine<'a> {
    time_unix_nano: String,
    severity: &'a str,
    message: &'a str,
    span_id: Option<String>,
    /// The unchanged object, with its members in their order.
    line: Option<&'a RawValue>,
}

impl<'a> From<&'a StoredLine> for JsonLine<'a> {
    fn from(line: &'a StoredLine) -> Self {
        Self {
            time_unix_nano: line.time_unix_nano.to_string(),
            severity: &line.severity,
            message: &line.message,
            span_id: line.span_id.map(|id| id.to_string()),
            line: serde_json::from_str(&line.line).ok(),
        }
    }
}

fn json_response(body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(cause) => error(StatusCode::INTERNAL_SERVER_ERROR, &cause.to_string()),
    }
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({ "error": message }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
