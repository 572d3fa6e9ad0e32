//! The log lines: one row each, which opens.

use logtracer_core::SpanId;
use maud::{Markup, html};

use super::line_text::LineText;
use super::{MAX_ROWS, TracePage};
use crate::otlp::in_place::RecordRef;
use crate::store::{LineContent, LineKey, LineRow, Snapshot, convert_record};
use crate::view::api;
use crate::view::bounded;
use crate::view::format::{duration, rfc3339};

/// The size of a message, and of all members of a line, in HTML.
const MAX_MESSAGE_BYTES: usize = 8 << 10;
const MAX_LINE_BYTES: usize = 16 << 10;

/// The size of a message when the page has too many lines.
const SHORT_MESSAGE_BYTES: usize = 240;

/// Where the span of a line is.
enum Place {
    /// On this page.
    Shown,
    /// In the store, but not on this page.
    Stored,
    Missing,
}

impl TracePage {
    /// Renders the next line. Returns true after the last one.
    pub(super) fn lines(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> rusqlite::Result<bool> {
        let is_first = self.lines == 0;
        let (mut is_last, mut next) = (true, None);
        let after = self.after;
        let rendered = snapshot.line(self.seq, after, |row| {
            if self.lines == MAX_ROWS {
                next = Some(row.key);
                return Ok(None);
            }
            is_last = false;
            self.after = Some(row.key);
            self.line(snapshot, &row).map(Some)
        })?;
        if let Some(markup) = rendered.flatten() {
            if is_first {
                out.extend_from_slice(br#"<section class="card log" aria-label="Log lines" id="log">"#);
                let heading = html! { h2 { "Log lines " span.muted { "of all services, by time" } } };
                out.extend_from_slice(heading.into_string().as_bytes());
            }
            self.lines += 1;
            out.extend_from_slice(markup.into_string().as_bytes());
        }
        if is_last && !is_first {
            out.extend_from_slice(self.rest_of_lines(next).into_string().as_bytes());
            out.extend_from_slice(b"</section>");
        }
        Ok(is_last)
    }

    fn rest_of_lines(&self, next: Option<LineKey>) -> Markup {
        let path = format!("/trace/{}", self.summary.trace_id);
        html! {
            @if next.is_some() || self.begins_after_first_line {
                p.notice {
                    @if self.begins_after_first_line {
                        "Later lines are shown: " (self.lines) " of " (self.summary.log_count) ". "
                        a href={ (path) "#log" } { "The first lines" } ". "
                    } @else {
                        "Only the first " (self.lines) " of " (self.summary.log_count) " lines are shown. "
                    }
                    @if let Some(next) = next { a href={ (path) "?lines=" (next) "#log" } { "The next lines" } "." }
                }
            }
        }
    }

    fn line(&mut self, snapshot: &Snapshot<'_>, row: &LineRow<'_>) -> rusqlite::Result<Markup> {
        let origin = row.span_id.and_then(|id| self.origins.get(&id)).copied();
        let place = row.span_id.map(|id| match origin {
            _ if self.shown.contains(&id) => (id, Place::Shown),
            Some(_) => (id, Place::Stored),
            None => (id, Place::Missing),
        });
        match row.content {
            LineContent::File { severity, message, line } => {
                let service = match origin {
                    Some(origin) => Some(self.names.of_origin(snapshot, origin)?),
                    None => None,
                };
                Ok(self.details(row, place, service.as_deref(), (severity, message, line), false))
            }
            LineContent::Record { body, origin } => {
                let converted = snapshot.emitter(origin, |emitter| {
                    let service = emitter.service_name().into_owned();
                    let names = (&*service, emitter.scope.name);
                    let record = RecordRef::new(body);
                    let line = convert_record(&record, Some(self.summary.trace_id), names, MAX_LINE_BYTES);
                    (service, line)
                })?;
                let Some((service, line)) = converted else { return Ok(html! {}) };
                let texts = (line.severity, &line.message[..], &line.line[..]);
                Ok(self.details(row, place, Some(&service), texts, line.is_cut))
            }
        }
    }

    fn details(
        &mut self,
        row: &LineRow<'_>,
        place: Option<(SpanId, Place)>,
        service: Option<&str>,
        (severity, message, line): (&str, &str, &str),
        is_cut: bool,
    ) -> Markup {
        let (time, start) = (row.time_unix_nano(), self.summary.start_unix_nano);
        let offset = match time.checked_sub(start) {
            Some(after) => format!("+{}", duration(after)),
            None => format!("−{}", duration(start - time)),
        };
        let is_allowed = self.line_bytes.left() > 0;
        let max_bytes = if is_allowed { MAX_MESSAGE_BYTES } else { SHORT_MESSAGE_BYTES };
        let (message, is_whole_message) = bounded::start(message.trim_end(), max_bytes);
        let text = is_allowed.then(|| LineText::new(line, MAX_LINE_BYTES));
        let is_cut = is_cut || !is_whole_message || text.as_ref().is_none_or(|text| text.is_cut);
        let whole = api::line_path(self.summary.trace_id, row.key);
        let markup = html! {
            details class={ "line " (severity_class(severity)) } {
                summary {
                    time datetime=(rfc3339(time)) title=(rfc3339(time)) { (offset) }
                    span.severity { (bounded::start(severity, 40).0) }
                    @match service {
                        Some(service) => { span class={ "service " (self.palette.class(service)) } title=(service) { i {} bdi { (service) } } }
                        None => { span.service.muted { "–" } }
                    }
                    span.message dir="auto" { (message) @if !is_whole_message { "…" } }
                }
                div.body {
                    @match place {
                        Some((id, Place::Shown)) => { p { "Span " (link(id)) } }
                        Some((id, Place::Stored)) => { p { "Span " (link(id)) span.muted { ", which is not shown above" } } }
                        Some((id, Place::Missing)) => {
                            p { "Span " span.mono { (id) } span.muted { ", which is not here: it was not sampled, was dropped or evicted, or has not arrived yet" } }
                        }
                        None => {}
                    }
                    @if is_cut {
                        p { "Only a part of this line is shown. " a href=(whole) { "The whole line" } "." }
                    }
                    @if let Some(text) = &text { (text.render()) }
                }
            }
        };
        self.line_bytes.spend(markup.0.len());
        markup
    }
}

fn link(id: SpanId) -> Markup {
    html! { a.mono href={ "?span=" (id) "#s-" (id) } { (id) } }
}

/// Returns the class of the lines of a severity.
pub(super) fn severity_class(severity: &str) -> &'static str {
    match severity {
        "ERROR" | "CRITICAL" | "ALERT" | "EMERGENCY" => "loud",
        "WARNING" | "WARN" => "warn",
        "DEBUG" | "TRACE" => "quiet",
        _ => "plain",
    }
}
