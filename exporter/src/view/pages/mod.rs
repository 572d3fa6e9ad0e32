//! The two pages: the list of traces, and one trace.

mod layout;
mod list;
mod palette;
mod trace;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::Markup;
use serde::Deserialize;

use super::respond::{ViewError, Views};
use crate::clock;
use crate::listen::Closer;
use list::ListPage;
pub(super) use trace::{line, span, trace};

const HTML: &str = "text/html; charset=utf-8";

/// The number of traces on the page.
const LIST_LIMIT: usize = 100;

/// The query parameters of the list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    /// A pasted trace id, or a header that contains one.
    #[serde(default)]
    find: String,
}

/// `GET /`: the list, or a redirect to the trace that was searched for.
pub(super) async fn list(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    parameters: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, PageError> {
    let find = parameters.map(|Query(parameters)| parameters.find).unwrap_or_default();
    if let Some(trace_id) = id_in(&find) {
        return Ok(Redirect::to(&format!("/trace/{trace_id}")).into_response());
    }
    let view = views.admit().await?;
    let page =
        view.read(move |snapshot| ListPage::open(snapshot, LIST_LIMIT, find, clock::unix_nanos())).await?;
    Ok(view.respond(HTML, page, closer.map(|Extension(closer)| closer)))
}

/// An error as a page.
#[derive(Debug)]
pub(super) struct PageError(ViewError);

impl From<ViewError> for PageError {
    fn from(error: ViewError) -> Self {
        Self(error)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        self.0.respond(error_page("This page cannot be shown now", self.0.message()))
    }
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
