//! The list of traces: a filter, an overview, and a row for each trace.
//!
//! ```text
//!  open ──► filters ──► overview: a dot for each trace ──► rows ──► the link to the next page
//! ```

mod filters;
mod overview;
mod row;

use std::time::Instant;

use maud::{Markup, html};

use super::layout::{self, Refresh, Section};
use crate::store::{FoundTraces, ListKey, ReadResult, Snapshot, Sort, TraceCursor};
use crate::view::api::SEARCH_TIME;
use crate::view::format::count;
use crate::view::pages::time;
use crate::view::parameters::{Parameters, TracesQuery};
use crate::view::respond::{PIECE_BYTES, Pieces, Progress};
use crate::view::visible;
pub(in crate::view) use filters::{OF_LINES, OF_RANGE, form};
pub(in crate::view) use row::Rows;

/// The overview has this many times as many traces as the list.
const DOTS_PER_ROW: usize = 5;

/// The state of the page while it is sent.
pub(super) struct ListPage {
    rows: Rows,
    traces: std::vec::IntoIter<ListKey>,
    overview: Markup,
    services: Vec<String>,
    next: Option<TraceCursor>,
    is_interrupted: bool,
    is_begun: bool,
    limit: usize,
    /// What was searched for, if it has no id.
    find: String,
}

impl ListPage {
    pub(super) fn open(
        snapshot: &Snapshot<'_>,
        parameters: Parameters,
        query: &TracesQuery,
        find: String,
        now: u64,
    ) -> ReadResult<Self> {
        let TracesQuery { filter, sort, limit, cursor } = query;
        let deadline = Instant::now() + SEARCH_TIME;
        let FoundTraces { keys, mut next, mut is_interrupted } =
            snapshot.find_traces(filter, *sort, *cursor, limit * DOTS_PER_ROW, deadline)?;
        let mut dots = Vec::with_capacity(keys.len());
        for key in &keys {
            dots.extend(snapshot.dot(*key)?);
        }
        let overview = overview::draw(&dots, now);
        let mut traces = keys.clone();
        if let Some(last) = keys.get(limit - 1)
            && keys.len() > *limit
        {
            next = Some(TraceCursor::after(*sort, *last));
            is_interrupted = false;
        }
        traces.truncate(*limit);
        let longest = traces.iter().map(|key| key.duration_nano).max().unwrap_or(0);
        Ok(Self {
            rows: Rows { parameters, longest, now },
            traces: traces.into_iter(),
            overview,
            services: snapshot.services()?,
            next,
            is_interrupted,
            is_begun: false,
            limit: *limit,
            find,
        })
    }

    fn before_rows(&self) -> Markup {
        let rows = self.traces.len() as u64;
        html! {
            (form("/", &filters::OF_TRACES, &self.rows.parameters, &self.services))
            @if !self.find.trim().is_empty() {
                p.notice { "No trace id found in “" (visible::line(&self.find, 400)) "”." }
            }
            @if rows > 0 { (self.overview) }
            div.bar hidden[rows == 0] {
                h1 { "Traces" }
                span.muted { span.count data-noun="trace" { (count(rows, "trace")) } ", " (self.order()) }
                span role="status" { button.news type="button" hidden {} }
            }
        }
    }

    fn order(&self) -> &'static str {
        match self.rows.parameters.get("sort") {
            Some("oldest") => "oldest first",
            Some("longest") => "longest first",
            _ => "newest first",
        }
    }

    /// Returns what is shown instead of rows.
    fn empty(&self) -> Markup {
        let has_filter = self.rows.parameters.iter().any(|(name, _)| name != "limit" && name != "sort");
        html! {
            div.empty {
                @if self.is_interrupted {
                    h1 { "Nothing found yet" }
                } @else if has_filter {
                    h1 { "No trace passes this filter" }
                    p { a href="/" { "All traces" } }
                } @else {
                    h1 { "No traces yet" }
                    p { "Send spans to " code { "POST /v1/traces" } " (OTLP/HTTP), or point the filter's " code { "exporter.cluster" } " here." }
                    p.muted { "They appear on this page when they arrive." }
                }
            }
        }
    }

    fn after_rows(&self) -> Markup {
        let next = self.next.map(|next| {
            let link = self.rows.parameters.with("cursor", &next.to_string()).link("/");
            (link, time::clock(next.time_unix_nano(), self.rows.now), next.sort())
        });
        html! {
            @if let Some((link, stopped, sort)) = next {
                p.more {
                    @if self.is_interrupted {
                        span.muted {
                            @if sort == Sort::Longest { "The search took long and has stopped. " }
                            @else { "The search took long and has stopped at " (stopped) " " (time::zone()) ". " }
                        }
                        a.button rel="next" href=(link) { "Search further" }
                    } @else {
                        a.button rel="next" href=(link) {
                            @match sort {
                                Sort::Newest => { "Older traces" }
                                Sort::Oldest => { "Newer traces" }
                                Sort::Longest => { "Shorter traces" }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Pieces for ListPage {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        // Rows are added to the first page only, and only where new traces belong.
        let is_live = self.rows.parameters.get("cursor").is_none()
            && matches!(self.rows.parameters.get("sort"), None | Some("newest"))
            && self.rows.parameters.get("to").is_none();
        let refresh = if is_live { Refresh::Live } else { Refresh::No };
        let (head, end) = layout::frame("Traces", Section::Traces, refresh);
        if !self.is_begun {
            self.is_begun = true;
            let source = self.rows.parameters.link("/live");
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(self.before_rows().into_string().as_bytes());
            if self.traces.len() == 0 {
                out.extend_from_slice(self.empty().into_string().as_bytes());
            }
            let now = self.rows.now.to_string();
            let table = html! { table.traces #rows data-live=[is_live.then_some(source)] data-now=(now) data-limit=(self.limit) data-next="Older traces" hidden[self.traces.len() == 0] { (row::head()) } };
            out.extend_from_slice(table.into_string().trim_end_matches("</table>").as_bytes());
            out.extend_from_slice(b"<tbody>");
        }
        while out.len() < PIECE_BYTES {
            let Some(key) = self.traces.next() else {
                out.extend_from_slice(b"</tbody></table>");
                out.extend_from_slice(self.after_rows().into_string().as_bytes());
                out.extend_from_slice(end.as_bytes());
                return Ok(Progress::Complete);
            };
            if let Some(trace) = snapshot.listed(key)? {
                out.extend_from_slice(self.rows.read(snapshot, &trace)?.into_string().as_bytes());
            }
        }
        Ok(Progress::More)
    }
}
