//! New rows of a list, as server-sent events.
//!
//! See <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
//!
//! | event | data |
//! |---|---|
//! | `trace`, `line` | a new row, or the new state of one: JSON for programs, `{"id", "html"}` for the page |
//! | `skipped` | there were too many changes; the number of rows that have no event, or `null` if it is unknown |
//! | `alive` | the time, every two seconds without another event |
//!
//! A client that reads nothing costs one batch of events and misses the others.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use logtracer_core::TraceId;
use serde_json::json;
use tokio::sync::mpsc;

use super::api::{ApiError, Given, line_json, parameters, parse_trace_id, trace_json};
use super::pages::{LineRows, Rows};
use super::parameters::{LinesQuery, Parameters, TracesQuery};
use super::respond::Views;
use crate::clock;
use crate::shutdown::Shutdown;
use crate::store::{Change, LineCursor, Snapshot};

/// How long changes are gathered.
const INTERVAL: Duration = Duration::from_millis(500);

/// A client without an event for this long gets `alive`.
const ALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// Further rows of a batch have no event.
const MAX_ROWS: usize = 100;

/// Further changes of a batch are not looked at.
const MAX_CHANGES: usize = 1000;

/// The rows of the page have bars as long as if this were the longest.
const LONGEST_NANO: u64 = 10_000_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Html,
}

#[derive(Debug)]
enum Query {
    Traces(TracesQuery),
    Lines(LinesQuery),
}

/// `GET /api/live`: the filters of `/api/traces`, or with `logs=true` of `/api/logs`.
pub(super) async fn events(
    State(views): State<Views>,
    State(stop): State<Shutdown>,
    given: Given,
) -> Result<Response, ApiError> {
    respond(views, stop, given, Form::Json)
}

/// `GET /live`: the same for the pages.
pub(super) async fn rows(
    State(views): State<Views>,
    State(stop): State<Shutdown>,
    given: Given,
) -> Result<Response, ApiError> {
    respond(views, stop, given, Form::Html)
}

fn respond(views: Views, stop: Shutdown, given: Given, form: Form) -> Result<Response, ApiError> {
    let mut parameters = parameters(given)?;
    let now = clock::unix_nanos();
    let mut only = None;
    let query = match parameters.take("logs").as_deref() {
        Some("true") => Query::Lines(LinesQuery::parse(&parameters, now)?),
        None | Some("false") => {
            // The page of a trace waits for changes of this trace.
            if let Some(id) = (form == Form::Html).then(|| parameters.take("trace")).flatten() {
                only =
                    Some(parse_trace_id(&id).ok_or_else(|| ApiError::invalid("trace: expected a trace id"))?);
            }
            Query::Traces(TracesQuery::parse(&parameters, now)?)
        }
        Some(_) => return Err(ApiError::invalid("logs: expected true or false")),
    };
    let Some(subscription) = views.subscribe() else {
        let message = "too many live views at the same time";
        return Ok((StatusCode::SERVICE_UNAVAILABLE, message).into_response());
    };
    let (sender, receiver) = mpsc::channel(1);
    let live = Live { views, form, query, only, parameters, sender };
    tokio::spawn(live.run(subscription, stop));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(LiveBody(receiver))).into_response())
}

struct Live {
    views: Views,
    form: Form,
    query: Query,
    /// Only changes of this trace are events.
    only: Option<TraceId>,
    parameters: Parameters,
    sender: mpsc::Sender<Bytes>,
}

impl Live {
    async fn run(self, mut subscription: super::respond::LiveSubscription, mut stop: Shutdown) {
        let live = std::sync::Arc::new(self);
        if live.sender.send(alive()).await.is_err() {
            return;
        }
        loop {
            let event = tokio::select! {
                () = stop.begun() => return,
                () = live.sender.closed() => return,
                () = subscription.changes().changed() => {
                    tokio::time::sleep(INTERVAL).await;
                    let changes = subscription.changes().take();
                    let for_read = live.clone();
                    match live.views.read(move |snapshot| for_read.events(snapshot, changes)).await {
                        Ok(events) if !events.is_empty() => Bytes::from(events),
                        Ok(_) => alive(),
                        // The client connects again.
                        Err(_) => return,
                    }
                }
                () = tokio::time::sleep(ALIVE_INTERVAL) => alive(),
            };
            tokio::select! {
                () = stop.begun() => return,
                sent = live.sender.send(event) => if sent.is_err() { return },
            }
        }
    }

    fn events(
        &self,
        snapshot: &Snapshot<'_>,
        (changes, is_incomplete): (Vec<Change>, bool),
    ) -> rusqlite::Result<String> {
        let mut events = String::new();
        // The newest are the last.
        let skipped = changes.len().saturating_sub(MAX_CHANGES);
        let changes = changes.get(skipped..).unwrap_or_default();
        let mut has_more = is_incomplete || skipped > 0;
        let mut left = 0;
        match &self.query {
            Query::Traces(query) => {
                let traces = changes.iter().filter_map(|change| match change {
                    Change::Trace(seq) => Some(*seq),
                    Change::Line(_) => None,
                });
                let traces: Vec<i64> = traces.collect();
                has_more &= !traces.is_empty() || is_incomplete;
                let mut found = snapshot.passing_traces(&query.filter, &traces)?;
                found.retain(|trace| self.only.is_none_or(|only| trace.trace_id == only));
                left = found.len().saturating_sub(MAX_ROWS);
                let rows = Rows {
                    parameters: self.parameters.clone(),
                    longest: LONGEST_NANO,
                    now: clock::unix_nanos(),
                };
                for trace in found.iter().skip(left) {
                    let data = match self.form {
                        Form::Json => trace_json(trace),
                        Form::Html => row(&format!("t-{}", trace.trace_id), &rows.row(trace)),
                    };
                    push(&mut events, "trace", &data);
                }
            }
            Query::Lines(query) => {
                let lines = changes.iter().filter_map(|change| match change {
                    Change::Line(line) => Some(*line),
                    Change::Trace(_) => None,
                });
                let lines: Vec<LineCursor> = lines.collect();
                has_more &= !lines.is_empty() || is_incomplete;
                let found = snapshot.passing_lines(&query.filter, &lines)?;
                left += found.len().saturating_sub(MAX_ROWS);
                let rows = LineRows { parameters: self.parameters.clone(), now: clock::unix_nanos() };
                for line in found.iter().skip(left) {
                    let data = match self.form {
                        Form::Json => line_json(snapshot, line)?,
                        Form::Html => {
                            rows.read(snapshot, line)?.map(|markup| row(&format!("l-{line}"), &markup))
                        }
                    };
                    if let Some(data) = data {
                        push(&mut events, "line", &data);
                    }
                }
            }
        }
        if has_more {
            push(&mut events, "skipped", "null");
        } else if left > 0 {
            push(&mut events, "skipped", &left.to_string());
        }
        Ok(events)
    }
}

fn row(id: &str, markup: &maud::Markup) -> String {
    json!({ "id": id, "html": markup.0 }).to_string()
}

/// Adds an event. JSON has no line breaks.
fn push(events: &mut String, name: &str, data: &str) {
    events.push_str("event: ");
    events.push_str(name);
    events.push_str("\ndata: ");
    events.push_str(data);
    events.push_str("\n\n");
}

fn alive() -> Bytes {
    let mut event = String::new();
    push(&mut event, "alive", &json!({ "unix_nano": clock::unix_nanos().to_string() }).to_string());
    event.into()
}

struct LiveBody(mpsc::Receiver<Bytes>);

impl hyper::body::Body for LiveBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
