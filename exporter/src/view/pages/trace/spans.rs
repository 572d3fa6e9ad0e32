//! The waterfall: a row for each span.

use maud::{Markup, PreEscaped, html};

use super::detail::Detail;
use super::{TracePage, lines};
use crate::store::{Snapshot, SpanRow};
use crate::view::bounded;
use crate::view::format::duration;
use crate::view::waterfall::Row;

/// The maximum indentation. The stylesheet has the classes `in1` to `in16`; `in0` has no rule.
const MAX_INDENT: usize = 16;

impl TracePage {
    /// Renders the next row. Returns true after the last one.
    pub(super) fn spans(&mut self, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> rusqlite::Result<bool> {
        if self.rows.is_empty() {
            return Ok(true);
        }
        if self.row == 0 {
            out.extend_from_slice(br#"<section class="card waterfall" aria-label="Spans">"#);
            out.extend_from_slice(self.axis().into_string().as_bytes());
        }
        let Some(row) = self.rows.get(self.row).copied() else {
            out.extend_from_slice(self.rest_of_spans().into_string().as_bytes());
            out.extend_from_slice(b"</section>");
            return Ok(true);
        };
        self.row += 1;
        let rendered = snapshot.span(self.seq, row.span_id, |stored| self.span(snapshot, row, &stored))?;
        // A span that was evicted meanwhile has no row.
        out.extend_from_slice(rendered.unwrap_or(PreEscaped(String::new())).into_string().as_bytes());
        Ok(false)
    }

    fn axis(&self) -> Markup {
        let total = self.summary.duration_nano;
        html! {
            div.axis {
                span.label { "Span" }
                div.ticks { span { "0" } @for quarter in 1..=4 { span { (duration(total / 4 * quarter)) } } }
            }
        }
    }

    fn rest_of_spans(&self) -> Markup {
        let (rows, total) = (self.rows.len() as u64, self.summary.span_count);
        let path = format!("/trace/{}", self.summary.trace_id);
        html! {
            @if self.next_span.is_some() || self.spans_before > 0 {
                p.notice {
                    @if self.spans_before == 0 {
                        "Only the first " (rows) " of " (total) " spans are shown. "
                    } @else {
                        "The spans " (self.spans_before + 1) " to " (self.spans_before + rows) " of " (total) " are shown. "
                        a href=(path) { "The first spans" } ". "
                    }
                    @if let Some(next) = self.next_span { a href={ (path) "?from=" (next) } { "The next spans" } ". " }
                    a href={ "/api" (path.replace("/trace/", "/traces/")) } { "JSON" } " has more at once."
                }
            }
        }
    }

    fn span(&mut self, snapshot: &Snapshot<'_>, row: Row, stored: &SpanRow<'_>) -> rusqlite::Result<Markup> {
        let span = &stored.span;
        let service = self.names.of_origin(snapshot, stored.origin)?;
        let has_failed = span.status() == opentelemetry_proto::tonic::trace::v1::status::StatusCode::Error;
        let is_open = self.open == Some(row.span_id);
        let missing = row.missing_parent().map(|parent| (parent, self.origins.contains_key(&parent)));
        let (shown, is_whole_name) = bounded::start(span.name, bounded::SHOWN_BYTES);
        let detail = Detail {
            trace_id: self.summary.trace_id,
            trace_start: self.summary.start_unix_nano,
            span_id: row.span_id,
            parent: row.parent,
            row: stored,
        };
        let last = self.emitter.take();
        let detail = if is_open || self.details.left() > 0 {
            let (markup, emitter) = detail.render(snapshot, last)?;
            self.emitter = Some(emitter);
            self.details.spend(markup.0.len());
            markup
        } else {
            detail.elsewhere()
        };
        Ok(html! {
            details class={ "span " @if has_failed { "failed " } (self.palette.class(&service)) } id={ "s-" (row.span_id) } open[is_open] {
                summary {
                    div class={ "name in" (row.depth.min(MAX_INDENT)) } {
                        i.dot {}
                        span.text title=(bounded::title(span.name)) { bdi { (shown) @if !is_whole_name { "…" } } }
                        @if has_failed { span.badge.bad { "error" } }
                        @match missing {
                            Some((parent, true)) => {
                                a.badge.warn href={ "?span=" (parent) "#s-" (parent) } title="The parent of this span is stored, but not on this page" { "parent not shown" }
                            }
                            Some((_, false)) => {
                                span.badge.warn title="The parent of this span is not here: it was not sampled, was dropped or evicted, or has not arrived yet" { "no parent" }
                            }
                            None => {}
                        }
                        span.from title=(service) { bdi { (service) } }
                    }
                    div.lane { (self.bar(row, stored)) }
                }
                (detail)
            }
        })
    }

    /// Draws the bar, its duration beside it if it fits, and a mark for each log line of the span.
    fn bar(&self, row: Row, stored: &SpanRow<'_>) -> Markup {
        let percent = |fraction: f64| format!("{:.3}%", fraction * 100.);
        let start = self.fraction(stored.span.start_time_unix_nano);
        let total = self.summary.duration_nano.max(1) as f64;
        let length = (stored.span.duration_nano() as f64 / total).clamp(0., 1. - start);
        let (end, length) = (start + length, length.max(0.002));
        let duration = duration(stored.span.duration_nano());
        let marks = self.marks.get(&row.span_id).map(Vec::as_slice).unwrap_or_default();
        html! {
            svg width="100%" height="22" aria-hidden="true" {
                rect x=(percent(start.min(0.998))) y="4" width=(percent(length)) height="12" rx="3" {}
                @if end <= 0.85 {
                    text x=(percent(end.max(start + length))) y="14" dx="6" { (duration) }
                } @else if start >= 0.15 {
                    text.before x=(percent(start)) y="14" dx="-6" { (duration) }
                } @else {
                    text.inside x=(percent(start)) y="14" dx="7" { (duration) }
                }
                @for mark in marks {
                    circle class={ "mark " (lines::severity_class(mark.severity)) } cx=(percent(self.fraction(mark.time_unix_nano))) cy="18" r="2.5" {}
                }
            }
        }
    }

    /// Returns a time as a fraction of the duration of the trace.
    fn fraction(&self, unix_nano: u64) -> f64 {
        let offset = unix_nano.saturating_sub(self.summary.start_unix_nano);
        (offset as f64 / self.summary.duration_nano.max(1) as f64).clamp(0., 1.)
    }
}
