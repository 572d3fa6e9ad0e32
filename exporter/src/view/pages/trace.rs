//! One trace: the waterfall of its spans, and the log lines of all services by time.

use std::collections::HashMap;

use logtracer_core::SpanId;
use maud::{Markup, PreEscaped, html};
use serde_json::value::RawValue;

use super::detail;
use super::layout::{self, Refresh};
use super::palette::Palette;
use crate::store::{ReadLimit, StoredLine, Trace};
use crate::view::format::{clock_time, count, duration, rfc3339};
use crate::view::waterfall::{Row, rows};

/// The limit of the page, so that browsers stay responsive. The JSON has more.
pub(super) const LIMIT: ReadLimit = ReadLimit { rows: 3000, bytes: 32 << 20 };

/// The maximum number of marks of log lines on one bar.
const MAX_MARKS: usize = 40;

/// The maximum indentation. The stylesheet has the classes `in1` to `in16`; `in0` has no rule.
const MAX_INDENT: usize = 16;

/// The data of the page.
struct Page<'a> {
    trace: &'a Trace,
    palette: Palette,
    services: HashMap<SpanId, &'a str>,
    lines: HashMap<SpanId, Vec<&'a StoredLine>>,
    open: Option<SpanId>,
}

pub(super) fn page(trace: &Trace, open: Option<SpanId>, now: u64) -> Markup {
    let mut lines: HashMap<SpanId, Vec<&StoredLine>> = HashMap::new();
    for line in &trace.lines {
        if let Some(span_id) = line.span_id {
            lines.entry(span_id).or_default().push(line);
        }
    }
    let page = Page {
        trace,
        palette: Palette::of_trace(trace.summary.service_names.iter().map(String::as_str)),
        services: trace.spans.iter().map(|span| (span.span_id, &span.emitter.service_name[..])).collect(),
        lines,
        open,
    };
    let name = match trace.summary.root_name.as_str() {
        "" => "Unnamed trace",
        name => name,
    };
    layout::page(
        name,
        Refresh::No,
        &html! {
            (page.heading(name, now))
            div.trace {
                @if !trace.spans.is_empty() { (page.waterfall()) }
                @if !trace.lines.is_empty() { (page.log()) }
            }
        },
    )
}

impl Page<'_> {
    fn heading(&self, name: &str, now: u64) -> Markup {
        let trace = &self.trace.summary;
        html! {
            div.bar {
                h1 { (name) }
                @if trace.error_count > 0 { span.badge.bad { (count(trace.error_count, "error")) } }
                span.grow {}
                a.button href={ "/api/traces/" (trace.trace_id) } { "JSON" }
            }
            dl.facts {
                div { dt { "Trace id" } dd.mono { (trace.trace_id) } }
                div { dt { "Started (UTC)" } dd { time datetime=(rfc3339(trace.start_unix_nano)) { (clock_time(trace.start_unix_nano, now)) } } }
                div { dt { "Duration" } dd { (duration(trace.duration_nano)) } }
                div { dt { "Spans" } dd { (trace.span_count) } }
                div { dt { "Log lines" } dd { (trace.log_count) } }
                @if !trace.service_names.is_empty() {
                    div { dt { "Services" } dd.services {
                        @for service in &trace.service_names {
                            span class={ "service " (self.palette.class(service)) } { i {} (service) }
                        }
                    } }
                }
            }
        }
    }

    fn waterfall(&self) -> Markup {
        let rows = rows(self.trace);
        let total = self.trace.summary.duration_nano;
        html! {
            section.card.waterfall aria-label="Spans" {
                div.axis {
                    span.label { "Span" }
                    div.ticks { span { "0" } @for quarter in 1..=4 { span { (duration(total / 4 * quarter)) } } }
                }
                @for row in &rows { (self.row(row)) }
                @if (rows.len() as u64) < self.trace.summary.span_count {
                    p.notice { "Only the first " (rows.len()) " of " (self.trace.summary.span_count) " spans are shown; the JSON has more." }
                }
            }
        }
    }

    fn row(&self, row: &Row<'_>) -> Markup {
        let span = row.span;
        let service = &span.emitter.service_name;
        let has_failed = span.is_error();
        html! {
            details class={ "span " @if has_failed { "failed " } (self.palette.class(service)) } id={ "s-" (span.span_id) } open[self.open == Some(span.span_id)] {
                summary {
                    div class={ "name in" (row.depth.min(MAX_INDENT)) } {
                        i.dot {}
                        span.text title=(span.span.name) { (span.span.name) }
                        @if has_failed { span.badge.bad { "error" } }
                        @if row.is_parent_missing {
                            span.badge.warn title="The parent of this span is not on this page: it was not sampled, was dropped or evicted, has not arrived yet, or is beyond the limit of the page" { "no parent" }
                        }
                        span.from { (service) }
                    }
                    div.lane { (self.bar(row)) }
                }
                (detail::span(span, self.trace.summary.start_unix_nano))
            }
        }
    }

    /// Draws the bar, its duration beside it if it fits, and a mark for each log line of the span.
    fn bar(&self, row: &Row<'_>) -> Markup {
        let percent = |fraction: f64| format!("{:.3}%", fraction * 100.);
        let end = row.start + row.length;
        let length = row.length.max(0.002);
        let duration = duration(row.span.duration_nano());
        let marks = self.lines.get(&row.span.span_id).map(Vec::as_slice).unwrap_or_default();
        html! {
            svg width="100%" height="22" aria-hidden="true" {
                rect x=(percent(row.start.min(0.998))) y="4" width=(percent(length)) height="12" rx="3" {}
                @if end <= 0.85 {
                    text x=(percent(end.max(row.start + length))) y="14" dx="6" { (duration) }
                } @else if row.start >= 0.15 {
                    text.before x=(percent(row.start)) y="14" dx="-6" { (duration) }
                } @else {
                    text.inside x=(percent(row.start)) y="14" dx="7" { (duration) }
                }
                @for line in marks.iter().take(MAX_MARKS) {
                    circle class={ "mark " (severity_class(&line.severity)) } cx=(percent(self.fraction(line.time_unix_nano))) cy="18" r="2.5" {}
                }
            }
        }
    }

    fn log(&self) -> Markup {
        let lines = &self.trace.lines;
        html! {
            section.card.log aria-label="Log lines" {
                h2 { "Log lines " span.muted { "of all services, by time" } }
                @for line in lines { (self.line(line)) }
                @if (lines.len() as u64) < self.trace.summary.log_count {
                    p.notice { "Only the first " (lines.len()) " of " (self.trace.summary.log_count) " lines are shown; the JSON has more." }
                }
            }
        }
    }

    fn line(&self, line: &StoredLine) -> Markup {
        let start = self.trace.summary.start_unix_nano;
        let offset = match line.time_unix_nano.checked_sub(start) {
            Some(after) => format!("+{}", duration(after)),
            None => format!("−{}", duration(start - line.time_unix_nano)),
        };
        let service = line.span_id.and_then(|id| self.services.get(&id)).copied();
        html! {
            details class={ "line " (severity_class(&line.severity)) } {
                summary {
                    time datetime=(rfc3339(line.time_unix_nano)) title=(rfc3339(line.time_unix_nano)) { (offset) }
                    span.severity { (line.severity) }
                    @match service {
                        Some(service) => { span class={ "service " (self.palette.class(service)) } { i {} (service) } }
                        None => { span.service.muted { "–" } }
                    }
                    span.message { (line.message) }
                }
                div.body {
                    @if let Some(span_id) = line.span_id {
                        p {
                            @if service.is_some() {
                                "Span " a.mono href={ "?span=" (span_id) "#s-" (span_id) } { (span_id) }
                            } @else {
                                "Span " span.mono { (span_id) } span.muted { ", which is not on this page" }
                            }
                        }
                    }
                    pre { (indented(&line.line)) }
                }
            }
        }
    }

    /// Returns a time as a fraction of the duration of the trace.
    fn fraction(&self, unix_nano: u64) -> f64 {
        let summary = &self.trace.summary;
        let offset = unix_nano.saturating_sub(summary.start_unix_nano);
        (offset as f64 / summary.duration_nano.max(1) as f64).clamp(0., 1.)
    }
}

/// Renders an object with one member per line, in their order.
fn indented(json: &str) -> Markup {
    let members = serde_json::from_str::<Members<'_>>(json).map(|members| members.0).unwrap_or_default();
    if members.is_empty() {
        return html! { (json) };
    }
    html! {
        @for (name, value) in &members {
            b { (name) } (PreEscaped("  ")) (value.get()) "\n"
        }
    }
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Visitor).map(Members)
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
