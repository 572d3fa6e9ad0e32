//! The pages: the lists of traces and of log lines, the services, and one trace.

mod brief;
mod compare;
mod layout;
mod list;
mod logs;
mod palette;
mod services;
mod time;
mod trace;

use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use logtracer_core::TraceId;
use maud::Markup;

use super::api::{Given, statistics};
use super::parameters::{LinesQuery, ParameterError, Parameters, RangeQuery, TracesQuery};
use super::respond::{Pieces, Progress, Text, View, ViewError, Views};
use super::visible;
use crate::clock;
use crate::listen::Closer;
use crate::store::{ReadResult, Snapshot};
use compare::{Choices, Side};
use list::ListPage;
pub(super) use list::Rows;
pub(super) use logs::LineRows;
use logs::LogsPage;
pub(super) use trace::{line, span, trace};

const HTML: &str = "text/html; charset=utf-8";

/// HTML in pieces, in which nothing is hidden.
struct Html<P>(P);

impl<P: Pieces> Pieces for Html<P> {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        let start = out.len();
        let progress = self.0.next(snapshot, out)?;
        visible::guard(out, start);
        Ok(progress)
    }
}

/// Sends rows of HTML as the client takes them.
fn respond(view: View, rows: impl Pieces, closer: Option<Extension<Closer>>) -> Response {
    view.respond(HTML, Html(rows), closer)
}

/// Returns the parameters of a request.
fn parameters(given: Given) -> Result<Parameters, PageError> {
    match given {
        Ok(Query(pairs)) => Ok(Parameters::new(pairs)),
        Err(rejection) => Err(ParameterError(rejection.body_text()).into()),
    }
}

/// `GET /`: the list, or a redirect to the trace that was searched for.
pub(super) async fn list(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    given: Given,
) -> Result<Response, PageError> {
    let mut parameters = parameters(given)?;
    // A pasted trace id, or a header that contains one.
    let find = parameters.take("find").unwrap_or_default();
    if let Some(trace_id) = id_in(&find) {
        return Ok(Redirect::to(&format!("/trace/{trace_id}")).into_response());
    }
    let now = clock::unix_nanos();
    let query = TracesQuery::parse(&parameters, now)?;
    let view = views.admit().await?;
    let page = view.read(move |snapshot| ListPage::open(snapshot, parameters, &query, find, now)).await?;
    Ok(respond(view, page, closer))
}

/// `GET /logs`: the list of log lines.
pub(super) async fn logs(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    given: Given,
) -> Result<Response, PageError> {
    let parameters = parameters(given)?;
    let now = clock::unix_nanos();
    let query = LinesQuery::parse(&parameters, now)?;
    let view = views.admit().await?;
    let page = view.read(move |snapshot| LogsPage::open(snapshot, parameters, &query, now)).await?;
    Ok(respond(view, page, closer))
}

/// `GET /services`: the services, the calls between them, and their routes.
pub(super) async fn services(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    given: Given,
) -> Result<Response, PageError> {
    let parameters = parameters(given)?;
    let query = RangeQuery::parse(&parameters, &["service", "from", "to"], clock::unix_nanos())?;
    let view = views.admit().await?;
    let page = view
        .read(move |snapshot| {
            let statistics = statistics::read(snapshot, &query)?;
            Ok(services::page(&statistics, &query, &parameters).into_string())
        })
        .await?;
    Ok(view.respond(HTML, Text::new(page), closer))
}

/// `GET /compare`: two traces side by side.
pub(super) async fn compare(
    State(views): State<Views>,
    closer: Option<Extension<Closer>>,
    given: Given,
) -> Result<Response, PageError> {
    let parameters = parameters(given)?;
    parameters.check(&["a", "b"])?;
    let ids = ["a", "b"].map(|name| parameters.get(name).unwrap_or_default().to_owned());
    if let (Some(a), "") = (id_in(&ids[0]), ids[1].as_str()) {
        let view = views.admit().await?;
        if let Some(choices) = view.read(move |snapshot| Choices::read(snapshot, a)).await? {
            let page = compare::choice(&choices, clock::unix_nanos());
            return Ok(view.respond(HTML, Text::new(page.into_string()), closer));
        }
    }
    let mut parsed = Vec::new();
    for (name, id) in ["a", "b"].into_iter().zip(&ids) {
        let Some(id) = id_in(id) else {
            // A link from a trace has one of the two.
            let is_absent = id.is_empty();
            let main = maud::html! {
                (compare::form(&ids))
                @if is_absent { p.muted { "Paste the id of another trace." } } @else { p.notice { (name) ": expected a trace id" } }
            };
            let page = layout::page("Two traces", layout::Section::Traces, layout::Refresh::No, &main);
            let status = if is_absent { StatusCode::OK } else { StatusCode::BAD_REQUEST };
            return Ok((status, page).into_response());
        };
        parsed.push(id);
    }
    let view = views.admit().await?;
    let sides = view
        .read(move |snapshot| {
            let read = |id: &TraceId| Side::read(snapshot, *id);
            parsed.iter().map(read).collect::<ReadResult<Vec<_>>>()
        })
        .await?;
    let missing = sides.iter().zip(&ids).find(|(side, _)| side.is_none()).map(|(_, id)| id.clone());
    let found: Vec<Side> = sides.into_iter().flatten().collect();
    let page = match <[Side; 2]>::try_from(found) {
        Ok(sides) => compare::page(&sides, clock::unix_nanos()),
        Err(_) => {
            let id: String = missing.unwrap_or_default().chars().take(100).collect();
            let main = maud::html! { (compare::form(&ids)) p.notice { "Trace " (id) " not found" } };
            let page = layout::page("Two traces", layout::Section::Traces, layout::Refresh::No, &main);
            return Ok((StatusCode::NOT_FOUND, page).into_response());
        }
    };
    Ok(view.respond(HTML, Text::new(page.into_string()), closer))
}

/// An error as a page.
#[derive(Debug)]
pub(super) enum PageError {
    View(ViewError),
    Parameter(ParameterError),
}

impl From<ViewError> for PageError {
    fn from(error: ViewError) -> Self {
        Self::View(error)
    }
}

impl From<ParameterError> for PageError {
    fn from(error: ParameterError) -> Self {
        Self::Parameter(error)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            Self::View(error) => error.respond(error_page("This page cannot be shown now", error.message())),
            Self::Parameter(ParameterError(message)) => {
                (StatusCode::BAD_REQUEST, error_page("Invalid filter", &message)).into_response()
            }
        }
    }
}

fn error_page(title: &str, text: &str) -> Markup {
    layout::page(
        title,
        layout::Section::Traces,
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

/// Returns the first trace id in a text such as a `traceparent` or an `X-Cloud-Trace-Context` header. Without one of 128
/// bits, it is the first of 64 bits, as in B3.
fn id_in(text: &str) -> Option<TraceId> {
    let words_of =
        |digits| text.split(|c: char| !c.is_ascii_hexdigit()).filter(move |word: &&str| word.len() == digits);
    let long = words_of(32).find_map(|word| word.parse().ok());
    long.or_else(|| words_of(16).find_map(|word| format!("{word:0>32}").parse().ok()))
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
        for text in ["463ac35c9f6413ad", "b3: 463ac35c9f6413ad-00f067aa0ba902b7-1"] {
            let id = id_in(text).map(|id| id.to_string());
            assert_eq!(id.as_deref(), Some("0000000000000000463ac35c9f6413ad"), "{text}");
        }
        for text in ["", "463ac3", "0000000000000000", "GET /basket", "00000000000000000000000000000000"] {
            assert_eq!(id_in(text), None, "{text}");
        }
    }
}
