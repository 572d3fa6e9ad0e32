//! The list of traces, newest first.

use maud::{Markup, html};

use super::layout::{self, Refresh};
use super::palette::Palette;
use crate::store::TraceSummary;
use crate::view::format::{ago, clock_time, count, duration, rfc3339};

/// The number of services that a row names. Further services are counted.
const MAX_SERVICES: usize = 4;

pub(super) fn page(traces: &[TraceSummary], find_without_id: Option<&str>, now: u64) -> Markup {
    layout::page(
        "Traces",
        Refresh::Live,
        &html! {
            @if let Some(text) = find_without_id {
                p.notice { "No trace id found in “" (text.chars().take(100).collect::<String>()) "”." }
            }
            div #live {
                @if traces.is_empty() { (empty_list()) } @else { (table(traces, now)) }
            }
        },
    )
}

fn table(traces: &[TraceSummary], now: u64) -> Markup {
    let longest = traces.iter().map(|trace| trace.duration_nano).max().unwrap_or(0);
    html! {
        div.bar {
            h1 { "Traces" }
            span.muted { (count(traces.len() as u64, "trace")) ", newest first" }
        }
        div.card {
            table.traces {
                thead { tr {
                    th { "Trace" }
                    th { "Services" }
                    th.num { "Spans" }
                    th.num { "Log lines" }
                    th { "Duration" }
                    th.num { "Started (UTC)" }
                } }
                tbody { @for trace in traces { (row(trace, longest, now)) } }
            }
        }
    }
}

fn row(trace: &TraceSummary, longest: u64, now: u64) -> Markup {
    // The colours are those of the page of the trace.
    let palette = Palette::of_trace(trace.service_names.iter().map(String::as_str));
    let share = trace.duration_nano as f64 / longest.max(1) as f64 * 100.;
    let started = trace.start_unix_nano;
    html! {
        tr.failed[trace.error_count > 0] {
            td.what {
                a href={ "/trace/" (trace.trace_id) } {
                    @if trace.root_name.is_empty() {
                        span.muted { @if trace.span_count == 0 { "log lines only" } @else { "unnamed span" } }
                    } @else { (trace.root_name) }
                }
                @if trace.error_count > 0 {
                    span.badge.bad title="Failed spans" { (count(trace.error_count, "error")) }
                }
                div.id { (trace.trace_id) }
            }
            td {
                div.services {
                    @for service in trace.service_names.iter().take(MAX_SERVICES) {
                        span class={ "service " (palette.class(service)) } { i {} (service) }
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
