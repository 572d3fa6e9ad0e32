//! The addresses of a trace: its page, and the details of a span or a line for the script.

use axum::extract::{Extension, Path, RawQuery, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use logtracer_core::{SpanId, TraceId};
use maud::{Markup, html};

use super::detail::Detail;
use super::heading::project;
use super::line_detail::LineDetail;
use super::state::State;
use super::{TracePage, panel};
use crate::clock;
use crate::listen::Closer;
use crate::store::{LineKey, ReadResult, Snapshot};
use crate::view::api::parse_trace_id;
use crate::view::pages::{PageError, error_page, layout, respond};
use crate::view::respond::{Pieces, Progress, Views};
use crate::view::tree::{self, Entry};

/// `GET /trace/{trace_id}`: one trace.
pub(in crate::view) async fn trace(
    Shared(views): Shared<Views>,
    closer: Option<Extension<Closer>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let (trace_id, state) = match read(&id, query.as_deref()) {
        Ok(read) => read,
        Err(response) => return Ok(*response),
    };
    let view = views.admit().await?;
    let found =
        view.read(move |snapshot| TracePage::open(snapshot, trace_id, state, clock::unix_nanos())).await?;
    let Some(page) = found else {
        return Ok((StatusCode::NOT_FOUND, not_found(trace_id)).into_response());
    };
    Ok(respond(view, page, closer))
}

/// `GET /trace/{trace_id}/spans/{span_id}`: the details of a span, as a part of the page.
pub(in crate::view) async fn span(
    Shared(views): Shared<Views>,
    closer: Option<Extension<Closer>>,
    Path((id, span)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let (trace_id, state) = match read(&id, query.as_deref()) {
        Ok(read) => read,
        Err(response) => return Ok(*response),
    };
    let Ok(span_id) = span.parse::<SpanId>() else {
        return Ok(bad_request(
            "Invalid span id",
            "A span id consists of 16 hexadecimal digits that are not all zero.",
        ));
    };
    let view = views.admit().await?;
    let found = view.read(move |snapshot| span_panel(snapshot, trace_id, span_id, &state)).await?;
    match found {
        Some(markup) => Ok(respond(view, Whole(markup), closer)),
        None => {
            Ok((StatusCode::NOT_FOUND, error_page("Span not found", "It is not stored, or was evicted."))
                .into_response())
        }
    }
}

/// `GET /trace/{trace_id}/lines/{line}`: the details of a log line, as a part of the page.
pub(in crate::view) async fn line(
    Shared(views): Shared<Views>,
    closer: Option<Extension<Closer>>,
    Path((id, line)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let (trace_id, state) = match read(&id, query.as_deref()) {
        Ok(read) => read,
        Err(response) => return Ok(*response),
    };
    let not_found = || {
        (StatusCode::NOT_FOUND, error_page("Line not found", "It is not stored, or was evicted."))
            .into_response()
    };
    let Ok(key) = line.parse::<LineKey>() else { return Ok(not_found()) };
    let view = views.admit().await?;
    let found = view.read(move |snapshot| line_panel(snapshot, trace_id, key, &state)).await?;
    match found {
        Some(markup) => Ok(respond(view, Whole(markup), closer)),
        None => Ok(not_found()),
    }
}

/// Returns the page of a trace that is not stored. The script notices its arrival.
fn not_found(trace_id: TraceId) -> Markup {
    let title = format!("Trace {trace_id} not found");
    let main = html! {
        script src="/assets/arrival.js" defer {}
        div.empty data-trace=(trace_id) {
            h1 { (title) }
            p { "It has not arrived yet, was not sampled, or was evicted from the store." }
            p.muted.waiting hidden role="status" { "This page shows it when it arrives." }
            p { a href="/" { "All traces" } }
        }
    };
    layout::page(&title, layout::Section::Traces, layout::Refresh::No, &main)
}

/// Reads an address. The error is a response that names what is wrong.
fn read(id: &str, query: Option<&str>) -> Result<(TraceId, State), Box<Response>> {
    let Some(trace_id) = parse_trace_id(id) else {
        let text = "A trace id consists of 32 hexadecimal digits that are not all zero.";
        return Err(Box::new(bad_request("Invalid trace id", text)));
    };
    match State::parse(query.unwrap_or_default()) {
        Ok(state) => Ok((trace_id, state)),
        Err(reason) => Err(Box::new(bad_request("This address cannot be shown", &reason))),
    }
}

fn bad_request(title: &str, text: &str) -> Response {
    (StatusCode::BAD_REQUEST, error_page(title, text)).into_response()
}

fn span_panel(
    snapshot: &Snapshot<'_>,
    trace_id: TraceId,
    span_id: SpanId,
    state: &State,
) -> ReadResult<Option<Markup>> {
    let Some((seq, _)) = snapshot.trace(trace_id)? else { return Ok(None) };
    let loaded = tree::load(snapshot, seq, None, clock::unix_nanos())?;
    let tree = &loaded.tree;
    let found = tree.index(span_id).and_then(|index| Some((index, tree.spans.get(index)?)));
    let Some((index, node)) = found else { return Ok(None) };
    let offsets = tree.clock_offsets(loaded.services.len());
    let detail = Detail {
        trace_id,
        trace_start: tree.start(),
        span_id,
        parent: node.parent_id,
        has_parent: node.missing_parent().is_none(),
        self_time: tree.self_time(index),
        lines: tree.below(Some(index)).filter(|entry| matches!(entry, Entry::Line(_))).count() as u64,
        offset: offsets.get(usize::from(node.service)).copied().unwrap_or(0),
        state,
    };
    let rendered =
        snapshot.span(seq, span_id, |stored| detail.render(snapshot, &stored.span, stored.origin))?;
    let close = format!("{}#s-{span_id}", state.opening(None, None));
    Ok(rendered.map(|rendered| panel(&rendered, &close, "")))
}

fn line_panel(
    snapshot: &Snapshot<'_>,
    trace_id: TraceId,
    key: LineKey,
    state: &State,
) -> ReadResult<Option<Markup>> {
    let Some((seq, _)) = snapshot.trace(trace_id)? else { return Ok(None) };
    let span = snapshot.line_at(seq, key, |row| Ok(row.span_id))?.flatten();
    let origin = span.map_or(Ok(None), |span| snapshot.span_origin(seq, span))?;
    let project = origin.map_or(Ok(None), |origin| snapshot.emitter(origin, |emitter| project(&emitter)))?;
    let project = project.flatten();
    let detail = LineDetail { trace_id, project: project.as_deref(), state };
    let rendered = snapshot.line_at(seq, key, |row| detail.render(snapshot, &row))?;
    let close = format!("{}#l-{key}", state.opening(None, None));
    Ok(rendered.map(|rendered| panel(&rendered, &close, "")))
}

/// A response of one piece.
struct Whole(Markup);

impl Pieces for Whole {
    fn next(&mut self, _: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        out.extend_from_slice(self.0.0.as_bytes());
        Ok(Progress::Complete)
    }
}
