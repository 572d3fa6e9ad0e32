//! The log lines of all services, newest first.

use logtracer_core::line::Severity;
use std::time::Instant;

use maud::{Markup, html};

use super::layout::{self, Refresh, Section};
use super::list::{OF_LINES, form};
use super::palette::Palette;
use super::time;
use super::trace::{copy, members};
use crate::otlp::in_place::RecordRef;
use crate::store::{
    FoundLines, LineContent, LineCursor, LineOrigin, LineRow, LinesCursor, ReadResult, Snapshot,
    convert_record,
};
use crate::view::api::SEARCH_TIME;
use crate::view::format::count;
use crate::view::parameters::{LinesQuery, Parameters};
use crate::view::respond::{PIECE_BYTES, Pieces, Progress};
use crate::view::visible;

/// The part of a message that a row shows, and the part of a line that its details show, as sizes in HTML.
const MESSAGE_BYTES: usize = 1024;
const LINE_BYTES: usize = 16 << 10;

/// The state of the page while it is sent.
pub(super) struct LogsPage {
    rows: LineRows,
    services: Vec<String>,
    lines: std::vec::IntoIter<LineCursor>,
    next: Option<LinesCursor>,
    limit: usize,
    /// Later lines are in the future, and come last.
    present: i64,
    is_interrupted: bool,
    is_begun: bool,
}

/// What all rows share.
pub(in crate::view) struct LineRows {
    pub(in crate::view) parameters: Parameters,
    pub(in crate::view) now: u64,
}

impl LogsPage {
    pub(super) fn open(
        snapshot: &Snapshot<'_>,
        parameters: Parameters,
        query: &LinesQuery,
        now: u64,
    ) -> ReadResult<Self> {
        let LinesQuery { filter, limit, cursor } = query;
        let FoundLines { lines, next, is_interrupted } = snapshot.find_lines(
            filter,
            *cursor,
            *limit,
            i64::try_from(now).unwrap_or(i64::MAX),
            Instant::now() + SEARCH_TIME,
        )?;
        Ok(Self {
            rows: LineRows { parameters, now },
            services: snapshot.services()?,
            lines: lines.into_iter(),
            next,
            limit: *limit,
            present: LinesCursor::present(i64::try_from(now).unwrap_or(i64::MAX)),
            is_interrupted,
            is_begun: false,
        })
    }

    fn before_rows(&self) -> Markup {
        let lines = self.lines.len() as u64;
        let has_filter = self.rows.parameters.iter().any(|(name, _)| name != "limit");
        html! {
            (form("/logs", &OF_LINES, &self.rows.parameters, &self.services))
            div.bar hidden[lines == 0] {
                h1 { "Log lines" }
                span.muted { span.count data-noun="line" { (count(lines, "line")) } ", newest first, times in " (time::zone()) }
                span role="status" { button.news type="button" hidden {} }
            }
            @if lines == 0 {
                div.empty {
                    @if self.is_interrupted { h1 { "Nothing found yet" } }
                    @else if has_filter { h1 { "No line passes this filter" } p { a href="/logs" { "All lines" } } }
                    @else {
                        h1 { "No log lines yet" }
                        p { "Send log records to " code { "POST /v1/logs" } " (OTLP/HTTP), or start the exporter with " code { "--tail FILE" } "." }
                    }
                }
            }
        }
    }

    fn after_rows(&self) -> Markup {
        html! {
            @if let Some(next) = self.next {
                p.more {
                    @if self.is_interrupted {
                        span.muted { "The search took long and has stopped at " (time::clock(next.time_unix_nano(), self.rows.now)) " " (time::zone()) ". " }
                    }
                    a.button rel="next" href=(self.rows.parameters.with("cursor", &next.to_string()).link("/logs")) {
                        @if self.is_interrupted { "Search further" } @else { "Older lines" }
                    }
                }
            }
        }
    }
}

impl Pieces for LogsPage {
    fn next(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> ReadResult<Progress> {
        let is_live =
            self.rows.parameters.get("cursor").is_none() && self.rows.parameters.get("to").is_none();
        let refresh = if is_live { Refresh::Live } else { Refresh::No };
        let (head, end) = layout::frame("Log lines", Section::Logs, refresh);
        if !self.is_begun {
            self.is_begun = true;
            let source = self.rows.parameters.with("logs", "true").link("/live");
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(self.before_rows().into_string().as_bytes());
            let now = self.rows.now.to_string();
            let list = html! { div.log.all #rows data-live=[is_live.then_some(source)] data-now=(now) data-limit=(self.limit) data-present=(self.present) data-next="Older lines" {} };
            out.extend_from_slice(list.into_string().trim_end_matches("</div>").as_bytes());
        }
        while out.len() < PIECE_BYTES {
            let Some(line) = self.lines.next() else {
                out.extend_from_slice(b"</div>");
                out.extend_from_slice(self.after_rows().into_string().as_bytes());
                out.extend_from_slice(end.as_bytes());
                return Ok(Progress::Complete);
            };
            if let Some(row) = self.rows.read(snapshot, &line)? {
                out.extend_from_slice(row.into_string().as_bytes());
            }
        }
        Ok(Progress::More)
    }
}

impl LineRows {
    /// Returns the row of a line, or `None` if it was evicted.
    pub(in crate::view) fn read(
        &self,
        snapshot: &Snapshot<'_>,
        line: &LineCursor,
    ) -> ReadResult<Option<Markup>> {
        let row = snapshot.listed_line(line, |origin, row| match row.content {
            LineContent::File { severity, message, line: text } => {
                Ok(Some(self.row(line, origin, &row, (severity, message, text), false)))
            }
            LineContent::Record { body, origin: emitter } => {
                let converted = snapshot.emitter(emitter, |emitter| {
                    let names = (&*emitter.service_name(), emitter.scope.name);
                    convert_record(&RecordRef::new(body), origin.trace_id, names, LINE_BYTES)
                })?;
                let row = converted.map(|converted| {
                    let texts = (converted.severity, &*converted.message, &*converted.line);
                    self.row(line, origin, &row, texts, converted.is_cut)
                });
                Ok(row)
            }
        })?;
        Ok(row.flatten())
    }

    fn row(
        &self,
        line: &LineCursor,
        origin: &LineOrigin,
        row: &LineRow<'_>,
        (severity, message, text): (&str, &str, &str),
        is_cut: bool,
    ) -> Markup {
        let service = origin.service.as_deref();
        let message =
            service.and_then(|service| message.strip_prefix(service)?.strip_prefix(" - ")).unwrap_or(message);
        let shown = visible::line(message, MESSAGE_BYTES);
        let whole = format!("/api/logs/{line}");
        let (members, has_all) = members(text, &whole, LINE_BYTES);
        let time = row.time_unix_nano();
        let (_, key) = line.key();
        let in_trace = origin.trace_id.map(|id| format!("/trace/{id}?line={key}#l-{key}"));
        html! {
            div class={ "line " (severity_class(severity)) } id={ "l-" (line) } data-cursor=(line) {
                details {
                    summary {
                        (time::clock(time, self.now))
                        span.message dir="auto" { (shown) }
                    }
                    div.body {
                        @if is_cut || !has_all { p.notice { "Only a part of this line is shown. " a href=(whole) { "The whole line" } "." } }
                        dl.facts {
                            div { dt { "Time" } dd { (time::full(time)) } }
                            div { dt { "Severity" } dd { (self.severity(severity)) } }
                            @if let Some(service) = service { div { dt { "Service" } dd { (self.service(service)) } } }
                            @if let Some(id) = origin.trace_id { div { dt { "Trace id" } dd.mono { a href=[&in_trace] { (id) } (copy("trace id", Some(&id.to_string()))) } } }
                            @if let (Some(id), Some(span)) = (origin.trace_id, row.span_id) {
                                div { dt { "Span id" } dd.mono { a href={ "/trace/" (id) "?span=" (span) "#s-" (span) } { (span) } (copy("span id", Some(&span.to_string()))) } }
                            }
                        }
                        p.actions { a.button href=(whole) { "Stored line" } }
                        (members)
                    }
                }
                (self.severity(severity))
                @match service { Some(service) => { (self.service(service)) } None => { span.service.muted { "–" } } }
                @if let Some(href) = &in_trace { a.of-trace href=(href) title="The line in its trace" { "trace" } }
            }
        }
    }

    /// Renders a severity as a link that adds it to the filter, if it can be one.
    fn severity(&self, severity: &str) -> Markup {
        let shown = visible::line(severity, 60);
        let href =
            Severity::from_text(severity).map(|_| self.parameters.with("severity", severity).link("/logs"));
        html! {
            @match href {
                Some(href) => { a.severity href=(href) title="Only lines of this severity or a graver one" { (shown) } }
                None => { span.severity { (shown) } }
            }
        }
    }

    /// Renders a service as a link that adds it to the filter.
    fn service(&self, service: &str) -> Markup {
        html! {
            a class={ "service " (Palette::default().class(service)) } title=(visible::title(service)) href=(self.parameters.with("service", service).link("/logs")) { i {} (visible::name(service)) }
        }
    }
}

/// Returns the class of the lines of a severity.
fn severity_class(severity: &str) -> &'static str {
    match severity {
        "ERROR" | "CRITICAL" | "ALERT" | "EMERGENCY" => "loud",
        "WARNING" | "WARN" => "warn",
        "DEBUG" | "TRACE" => "quiet",
        _ => "plain",
    }
}
