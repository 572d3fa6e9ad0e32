//! The JSON API: the lists of traces and of log lines, one trace, one span and one log line, and statistics.
//!
//! Times and durations are strings of nanoseconds, because JSON numbers are not precise enough.

mod line;
mod list;
mod logs;
pub(super) mod openapi;
mod otlp;
mod span;
pub(super) mod statistics;
mod trace;

use std::str::FromStr;
use std::time::{Duration, Instant};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use logtracer_core::{SpanId, TraceId};
use serde::Deserialize;
use serde_json::json;

use super::parameters::{LinesQuery, ParameterError, Parameters, RangeQuery, TracesQuery};
use super::respond::{Text, ViewError, Views};
use super::window::Window;
use crate::clock;
use crate::listen::Closer;
use crate::store::{LineCursor, LineKey, ReadResult, Snapshot, TraceSummary};
pub(super) use line::path as line_path;
pub(super) use span::kind;
use trace::{Begin, END};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// The query parameters of a trace: its format, and where to begin.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceQuery {
    #[serde(default)]
    format: String,
    #[serde(default)]
    spans: String,
    #[serde(default)]
    logs: String,
}

/// How long a search may take. A page that is not full then goes on with its cursor.
pub(super) const SEARCH_TIME: Duration = Duration::from_millis(70);

/// The parameters of a request, as they were given.
pub(super) type Given = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// Returns the parameters of a request.
pub(super) fn parameters(given: Given) -> Result<Parameters, ApiError> {
    let Query(pairs) = given.map_err(|rejection| ApiError::invalid(&rejection.body_text()))?;
    Ok(Parameters::new(pairs))
}

/// Returns a trace of the list as JSON.
pub(super) fn trace_json(trace: &TraceSummary) -> String {
    serde_json::to_string(&list::JsonSummary::from(trace)).unwrap_or_default()
}

/// Returns a line of the list as JSON, or `None` if it was evicted or is longer.
pub(super) fn line_json(
    snapshot: &Snapshot<'_>,
    line: &LineCursor,
    max_bytes: usize,
) -> ReadResult<Option<String>> {
    let mut json = Vec::new();
    let mut window = Window::new(&mut json, 0, max_bytes);
    let found = snapshot.listed_line(line, |origin, row| {
        line::write(snapshot, line::Of::All(origin, line), &row, &mut window)
    })?;
    let (_, is_longer) = window.end();
    Ok(found.filter(|()| !is_longer).and_then(|()| String::from_utf8(json).ok()))
}

/// `GET /api/traces`: the traces that pass a filter.
pub(super) async fn list(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    given: Given,
) -> Result<Response, ApiError> {
    let query = TracesQuery::parse(&parameters(given)?, clock::unix_nanos())?;
    let view = views.admit().await?;
    let list =
        view.read(move |snapshot| list::List::open(snapshot, &query, Instant::now() + SEARCH_TIME)).await?;
    Ok(view.respond(JSON, list, closer))
}

/// `GET /api/logs`: the log lines that pass a filter.
pub(super) async fn logs(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    given: Given,
) -> Result<Response, ApiError> {
    let query = LinesQuery::parse(&parameters(given)?, clock::unix_nanos())?;
    let view = views.admit().await?;
    let lines =
        view.read(move |snapshot| logs::Lines::open(snapshot, &query, Instant::now() + SEARCH_TIME)).await?;
    Ok(view.respond(JSON, lines, closer))
}

/// `GET /api/logs/{line}`: one log line, unchanged: the JSON of a file, or a `LogRecord` as protobuf.
pub(super) async fn any_line(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    Path(line): Path<String>,
) -> Result<Response, ApiError> {
    let not_found = || ApiError::not_found("line not found".to_owned());
    let (trace, key) = line.parse::<LineCursor>().map_err(|()| not_found())?.key();
    let view = views.admit().await?;
    let found = view.read(move |snapshot| line::OneLine::of(snapshot, trace, key)).await?;
    let line = found.ok_or_else(not_found)?;
    Ok(view.respond(line.content_type(), line, closer))
}

/// `GET /api/services`: the services, and who calls whom.
pub(super) async fn services(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    given: Given,
) -> Result<Response, ApiError> {
    let query = RangeQuery::parse(&parameters(given)?, &["from", "to"], clock::unix_nanos())?;
    let view = views.admit().await?;
    let text =
        view.read(move |snapshot| Ok(statistics::services(&statistics::read(snapshot, &query)?))).await?;
    Ok(view.respond(JSON, Text::new(text), closer))
}

/// `GET /api/routes`: the routes of the services.
pub(super) async fn routes(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    given: Given,
) -> Result<Response, ApiError> {
    let query = RangeQuery::parse(&parameters(given)?, &["service", "from", "to"], clock::unix_nanos())?;
    let view = views.admit().await?;
    let text = view
        .read(move |snapshot| {
            let statistics = statistics::read(snapshot, &query)?;
            Ok(statistics::routes(&statistics, query.service.as_deref()))
        })
        .await?;
    Ok(view.respond(JSON, Text::new(text), closer))
}

/// `GET /api/traces/{trace_id}`: one trace with its log lines.
pub(super) async fn trace(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    Path(id): Path<String>,
    parameters: Result<Query<TraceQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let trace_id = trace_id(&id)?;
    let Query(from) = parameters.map_err(|rejection| ApiError::invalid(&rejection.body_text()))?;
    let spans = begin("spans", &from.spans)?;
    let lines = begin("logs", &from.logs)?;
    match &*from.format {
        "" | "json" => {}
        "otlp" => return download(&views, closer, trace_id).await,
        _ => return Err(ApiError::invalid("invalid value of the parameter format: expected json or otlp")),
    }
    let view = views.admit().await?;
    let found = view.read(move |snapshot| trace::Trace::open(snapshot, trace_id, spans, lines)).await?;
    let trace = found.ok_or_else(|| ApiError::not_found(format!("trace {trace_id} not found")))?;
    Ok(view.respond(JSON, trace, closer))
}

/// Sends a trace as OTLP/JSON, for a file.
async fn download(
    views: &Views,
    closer: Option<Extension<Closer>>,
    trace_id: TraceId,
) -> Result<Response, ApiError> {
    let view = views.admit().await?;
    let found = view.read(move |snapshot| otlp::Otlp::open(snapshot, trace_id)).await?;
    let trace = found.ok_or_else(|| ApiError::not_found(format!("trace {trace_id} not found")))?;
    let mut response = view.respond(JSON, trace, closer);
    // The id consists of digits, so the value is valid.
    if let Ok(name) = HeaderValue::try_from(format!("attachment; filename=\"trace-{trace_id}.json\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// The query parameters of a span: the value that is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpanQuery {
    /// The key of an attribute of the span.
    attribute: Option<String>,
    /// The key of an attribute of its resource.
    resource: Option<String>,
}

/// `GET /api/traces/{trace_id}/spans/{span_id}`: one span, with all of its attributes, or one value as text.
pub(super) async fn span(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    Path((trace, span)): Path<(String, String)>,
    parameters: Result<Query<SpanQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let trace_id = trace_id(&trace)?;
    let Query(wanted) = parameters.map_err(|rejection| ApiError::invalid(&rejection.body_text()))?;
    let span_id: SpanId = span.parse().map_err(|_| {
        ApiError::invalid("invalid span id: expected 16 hexadecimal digits that are not all zero")
    })?;
    let view = views.admit().await?;
    let key = wanted.attribute.map(span::Key::Attribute).or_else(|| wanted.resource.map(span::Key::Resource));
    if let Some(key) = key {
        let found = view.read(move |snapshot| span::OneValue::open(snapshot, trace_id, span_id, key)).await?;
        let value = found.ok_or_else(|| ApiError::not_found("this attribute not found".to_owned()))?;
        return Ok(view.respond(TEXT, value, closer));
    }
    let found = view.read(move |snapshot| span::OneSpan::open(snapshot, trace_id, span_id)).await?;
    let span =
        found.ok_or_else(|| ApiError::not_found(format!("span {span_id} of trace {trace_id} not found")))?;
    Ok(view.respond(JSON, span, closer))
}

/// `GET /api/traces/{trace_id}/logs/{line}`: one log line, unchanged: the JSON of a file, or a `LogRecord` as protobuf.
pub(super) async fn line(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    Path((trace, key)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let trace_id = trace_id(&trace)?;
    let not_found = || ApiError::not_found(format!("this line of trace {trace_id} not found"));
    let key: LineKey = key.parse().map_err(|()| not_found())?;
    let view = views.admit().await?;
    let found = view.read(move |snapshot| line::OneLine::open(snapshot, trace_id, key)).await?;
    let line = found.ok_or_else(not_found)?;
    Ok(view.respond(line.content_type(), line, closer))
}

fn trace_id(text: &str) -> Result<TraceId, ApiError> {
    parse_trace_id(text).ok_or_else(|| {
        ApiError::invalid("invalid trace id: expected 32 hexadecimal digits that are not all zero")
    })
}

/// Parses the trace id of a path.
pub(super) fn parse_trace_id(text: &str) -> Option<TraceId> {
    text.parse().ok()
}

/// Parses where the spans or the lines begin.
fn begin<K: FromStr>(parameter: &str, text: &str) -> Result<Begin<K>, ApiError> {
    match text {
        "" => Ok(Begin::First),
        END => Ok(Begin::End),
        key => {
            let invalid = || format!("invalid value of the parameter {parameter}: follow `next`");
            key.parse().map(Begin::At).map_err(|_| ApiError::invalid(&invalid()))
        }
    }
}

/// An error as JSON.
#[derive(Debug)]
pub(super) enum ApiError {
    View(ViewError),
    Request(StatusCode, String),
}

impl ApiError {
    pub(super) fn invalid(message: &str) -> Self {
        Self::Request(StatusCode::BAD_REQUEST, message.to_owned())
    }

    const fn not_found(message: String) -> Self {
        Self::Request(StatusCode::NOT_FOUND, message)
    }
}

impl From<ParameterError> for ApiError {
    fn from(ParameterError(message): ParameterError) -> Self {
        Self::Request(StatusCode::BAD_REQUEST, message)
    }
}

impl From<ViewError> for ApiError {
    fn from(error: ViewError) -> Self {
        Self::View(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = |message: &str| ([(header::CONTENT_TYPE, JSON)], json!({ "error": message }).to_string());
        match self {
            Self::View(error) => error.respond(body(error.message())),
            Self::Request(status, message) => (status, body(&message)).into_response(),
        }
    }
}
