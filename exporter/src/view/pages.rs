//! The two pages: the list of traces, and one trace.

mod detail;
mod layout;
mod list;
mod palette;
mod trace;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use logtracer_core::SpanId;
use maud::Markup;
use serde::Deserialize;

use super::api::parse_trace_id;
use super::{QueryError, View, query};
use crate::clock;

/// The number of traces on the page.
const LIST_LIMIT: usize = 100;

/// The query parameters of the list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    /// A pasted trace id, or a header that contains one.
    #[serde(default)]
    find: String,
}

/// The query parameters of a trace.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TraceQuery {
    /// The id of the span whose details are open.
    #[serde(default)]
    span: String,
}

/// `GET /`: the list, or a redirect to the trace that was searched for.
pub(super) async fn list(
    State(view): State<View>,
    parameters: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, QueryError> {
    let find = parameters.map(|Query(parameters)| parameters.find).unwrap_or_default();
    if let Some(trace_id) = id_in(&find) {
        return Ok(Redirect::to(&format!("/trace/{trace_id}")).into_response());
    }
    let traces = query(&view, |store| store.newest(LIST_LIMIT)).await?;
    let has_no_id = !find.trim().is_empty();
    Ok(list::page(&traces, has_no_id.then_some(find.as_str()), clock::unix_nanos()).into_response())
}

/// `GET /trace/{trace_id}`: one trace.
pub(super) async fn trace(
    State(view): State<View>,
    Path(id): Path<String>,
    parameters: Result<Query<TraceQuery>, QueryRejection>,
) -> Result<Response, QueryError> {
    let Some(trace_id) = parse_trace_id(&id) else {
        let text = "A trace id consists of 32 hexadecimal digits that are not all zero.";
        return Ok((StatusCode::BAD_REQUEST, error_page("Invalid trace id", text)).into_response());
    };
    let open = parameters.ok().and_then(|Query(parameters)| parameters.span.parse::<SpanId>().ok());
    Ok(match query(&view, move |store| store.trace_within(trace_id, trace::LIMIT)).await? {
        Some(found) => trace::page(&found, open, clock::unix_nanos()).into_response(),
        None => {
            let text = "It has not arrived yet, was not sampled, or was evicted from the store.";
            (StatusCode::NOT_FOUND, error_page(&format!("Trace {trace_id} not found"), text)).into_response()
        }
    })
}

fn error_page(title: &str, text: &str) -> Markup {
    layout::page(
        title,
        layout::Refresh::No,
        &maud::html! {
            div.empty {
                h1 { (title) }
                p { (text) }
                p { a href="/" { "All traces" } }
            }
        },
    )
}

/// Returns the first trace id in a text such as a `traceparent` or an `X-Cloud-Trace-Context` header.
fn id_in(text: &str) -> Option<logtracer_core::TraceId> {
    let words = text.split(|c: char| !c.is_ascii_hexdigit());
    words.filter(|word| word.len() == 32).find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_pasted_headers() {
        const ID: &str = "463ac35c9f6413ad48485a3953bb6124";
        for text in [
            ID.to_owned(),
            format!("  {} ", ID.to_uppercase()),
            format!("traceparent: 00-{ID}-00f067aa0ba902b7-01"),
            format!("X-Cloud-Trace-Context: {ID}/67667974448284343;o=1"),
            format!("projects/p/traces/{ID}"),
            format!("b3={ID}-00f067aa0ba902b7-1"),
        ] {
            assert_eq!(id_in(&text).map(|id| id.to_string()).as_deref(), Some(ID), "{text}");
        }
        for text in ["", "463ac3", "GET /basket", "00000000000000000000000000000000"] {
            assert_eq!(id_in(text), None, "{text}");
        }
    }
}
