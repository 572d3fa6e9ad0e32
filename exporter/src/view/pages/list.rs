//! The list of traces, newest first.

use maud::{Markup, html};

use super::layout::{self, Refresh};
use super::palette::Palette;
use crate::store::{ListKey, Snapshot, TraceSummary};
use crate::view::bounded;
use crate::view::format::{ago, clock_time, count, duration, rfc3339};
use crate::view::respond::{PIECE_BYTES, Pieces, Progress};

/// The number of services that a row names. Further services are counted.
const MAX_SERVICES: usize = 4;

/// The state of the page while it is sent.
pub(super) struct ListPage {
    keys: Vec<ListKey>,
    row: usize,
    longest: u64,
    /// What was searched for, if it has no id.
    find: String,
    now: u64,
}

impl ListPage {
    pub(super) fn open(
        snapshot: &Snapshot<'_>,
        limit: usize,
        find: String,
        now: u64,
    ) -> rusqlite::Result<Self> {
        let keys = snapshot.newest(limit)?;
        let longest = keys.iter().map(|key| key.duration_nano).max().unwrap_or(0);
        Ok(Self { keys, row: 0, longest, find, now })
    }

    fn before_rows(&self) -> Markup {
        html! {
            @if !self.find.trim().is_empty() {
                p.notice { "No trace id found in “" (self.find.chars().take(100).collect::<String>()) "”." }
            }
        }
    }
}

impl Pieces for ListPage {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> rusqlite::Result<Progress> {
        let (head, end) = layout::frame("Traces", Refresh::Live);
        if self.row == 0 {
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(self.before_rows().into_string().as_bytes());
            out.extend_from_slice(b"<div id=\"live\">");
            let first = if self.keys.is_empty() { empty_list() } else { table_head(self.keys.len() as u64) };
            out.extend_from_slice(first.into_string().as_bytes());
            if !self.keys.is_empty() {
                out.extend_from_slice(TABLE.as_bytes());
            }
        }
        while out.len() < PIECE_BYTES {
            let Some(key) = self.keys.get(self.row) else {
                if !self.keys.is_empty() {
                    out.extend_from_slice(TABLE_END.as_bytes());
                }
                out.extend_from_slice(b"</div>");
                out.extend_from_slice(end.as_bytes());
                return Ok(Progress::Complete);
            };
            self.row += 1;
            if let Some(trace) = snapshot.listed(*key)? {
                out.extend_from_slice(row(&trace, self.longest, self.now).into_string().as_bytes());
            }
        }
        Ok(Progress::More)
    }
}

const TABLE: &str = concat!(
    r#"<div class="card"><table class="traces"><thead><tr><th>Trace</th><th>Services</th><th class="num">Spans</th>"#,
    r#"<th class="num">Log lines</th><th>Duration</th><th class="num">Started (UTC)</th></tr></thead><tbody>"#
);

const TABLE_END: &str = "</tbody></table></div>";

fn table_head(traces: u64) -> Markup {
    html! {
        div.bar {
            h1 { "Traces" }
            span.muted { (count(traces, "trace")) ", newest first" }
        }
    }
}

fn row(trace: &TraceSummary, longest: u64, now: u64) -> Markup {
    // The colours are those of the page of the trace.
    let palette = Palette::of_trace(trace.service_names.iter().map(String::as_str));
    let share = trace.duration_nano as f64 / longest.max(1) as f64 * 100.;
    let started = trace.start_unix_nano;
    html! {
        tr.failed[trace.error_count > 0] id={ "t-" (trace.trace_id) } {
            td.what {
                a href={ "/trace/" (trace.trace_id) } {
                    @if trace.root_name.is_empty() {
                        span.muted { @if trace.span_count == 0 { "log lines only" } @else { "unnamed span" } }
                    } @else { (bounded::name(&trace.root_name)) }
                }
                @if trace.error_count > 0 {
                    span.badge.bad title="Failed spans" { (count(trace.error_count, "error")) }
                }
                div.id { (trace.trace_id) }
            }
            td {
                div.services {
                    @for service in trace.service_names.iter().take(MAX_SERVICES) {
                        span class={ "service " (palette.class(service)) } title=(service) { i {} bdi { (service) } }
                    }
                    @if let Some(more) = trace.service_names.len().checked_sub(MAX_SERVICES).filter(|more| *more > 0) {
                        span.muted { "+" (more) }
                    }
                }
            }
            td.num { @if trace.span_count == 0 { span.muted { "–" } } @else { (trace.span_count) } }
            td.num { @if trace.log_count == 0 { span.muted { "–" } } @else { (trace.log_count) } }
            td.took {
                @if trace.span_count > 0 {
                    span { (duration(trace.duration_nano)) }
                    svg.share width="100%" height="4" aria-hidden="true" {
                        rect.back width="100%" height="4" rx="2" {}
                        rect.front width={ (format!("{:.2}", share.max(1.))) "%" } height="4" rx="2" {}
                    }
                } @else { span.muted { "–" } }
            }
            td.num.when {
                time datetime=(rfc3339(started)) { (clock_time(started, now)) }
                div.muted { (ago(started, now)) }
            }
        }
    }
}

fn empty_list() -> Markup {
    html! {
        div.empty {
            h1 { "No traces yet" }
            p { "Send spans to " code { "POST /v1/traces" } " (OTLP/HTTP), or point the filter's " code { "exporter.cluster" } " here." }
            p.muted { "They appear on this page when they arrive." }
        }
    }
}
