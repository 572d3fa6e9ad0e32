//! Two traces side by side: what each service does in one and in the other.

use std::collections::BTreeMap;
use std::time::Instant;

use logtracer_core::TraceId;
use maud::{Markup, html};

use super::layout::{self, Refresh, Section};
use super::palette::Palette;
use super::time;
use crate::store::{Operation, ReadResult, Snapshot, Sort, TraceFilter, TraceSummary};
use crate::view::api::SEARCH_TIME;
use crate::view::format::{count, duration};
use crate::view::visible;

/// A trace of the comparison.
pub(super) struct Side {
    summary: TraceSummary,
    operations: Vec<Operation>,
    is_complete: bool,
}

/// Further rows of the table are counted.
const MAX_ROWS: usize = 500;

impl Side {
    /// Reads a trace, or returns `None` if nothing of it is stored.
    pub(super) fn read(snapshot: &Snapshot<'_>, trace_id: TraceId) -> ReadResult<Option<Self>> {
        let Some((seq, summary)) = snapshot.trace(trace_id)? else { return Ok(None) };
        let (operations, is_complete) = snapshot.operations(seq)?;
        Ok(Some(Self { summary, operations, is_complete }))
    }
}

/// The spans of one name of one service, in each of the two traces.
type Row<'a> = [Option<&'a Operation>; 2];

pub(super) fn page(sides: &[Side; 2], now: u64) -> Markup {
    let mut rows: BTreeMap<(&str, &str), Row<'_>> = BTreeMap::new();
    for (index, side) in sides.iter().enumerate() {
        for operation in &side.operations {
            let row = rows.entry((&operation.service, &operation.name)).or_default();
            if let Some(cell) = row.get_mut(index) {
                *cell = Some(operation);
            }
        }
    }
    // What differs most comes first.
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(_, row)| std::cmp::Reverse(difference(row).unsigned_abs()));
    let largest = sides.iter().flat_map(|side| &side.operations).map(|operation| operation.total_nano).max();
    let main = html! {
        div.bar { h1 { "Two traces" } span.muted { "what differs most comes first" } }
        (form(&sides.each_ref().map(|side| side.summary.trace_id.to_string())))
        div.sides { @for (name, side) in ["A", "B"].into_iter().zip(sides) { (heading(name, side, now)) } }
        table.numbers {
            caption { "Spans by service and name" }
            thead {
                tr {
                    th scope="col" { "Span" } th scope="col" { "Service" }
                    @for name in ["A", "B"] { th.num scope="col" { "Spans of " (name) } th.num scope="col" { "Time in " (name) } th.compared scope="col" { span.muted { "compared" } } }
                    th.num scope="col" { "Difference" }
                }
            }
            tbody {
                @for ((service, name), row) in rows.iter().take(MAX_ROWS) {
                    tr {
                        td { (visible::name(name)) }
                        td { span class={ "service " (Palette::default().class(service)) } { i {} (visible::name(service)) } }
                        @for cell in row { (cells(*cell, largest.unwrap_or(1))) }
                        td.num { (signed(difference(row))) }
                    }
                }
            }
        }
        @if let Some(more) = rows.len().checked_sub(MAX_ROWS).filter(|more| *more > 0) {
            p.muted { (count(more as u64, "further row")) " with a smaller difference" }
        }
    };
    layout::page("Two traces", Section::Traces, Refresh::No, &main)
}

/// A trace, and others with its name, of which one can be compared with it.
pub(super) struct Choices {
    trace: TraceSummary,
    others: Vec<TraceSummary>,
}

/// The number of traces that the page offers.
const MAX_CHOICES: usize = 20;

impl Choices {
    /// Reads the newest traces with the name of this one, or returns `None` if nothing of it is stored.
    pub(super) fn read(snapshot: &Snapshot<'_>, trace_id: TraceId) -> ReadResult<Option<Self>> {
        let Some((_, trace)) = snapshot.trace(trace_id)? else { return Ok(None) };
        let mut others = Vec::new();
        if !trace.root_name.is_empty() {
            let name = trace.root_name.trim_end_matches('…').to_owned();
            let service = Some(trace.root_service.clone()).filter(|service| !service.is_empty());
            let filter = TraceFilter { name: Some(name), service, ..TraceFilter::default() };
            let deadline = Instant::now() + SEARCH_TIME;
            let is_other =
                |other: &TraceSummary| other.trace_id != trace_id && other.root_name == trace.root_name;
            for key in snapshot.find_traces(&filter, Sort::Newest, None, MAX_CHOICES + 1, deadline)?.keys {
                others.extend(snapshot.listed(key)?.filter(is_other));
            }
            others.truncate(MAX_CHOICES);
        }
        Ok(Some(Self { trace, others }))
    }
}

/// Returns the page on which the other trace is chosen.
pub(super) fn choice(Choices { trace, others }: &Choices, now: u64) -> Markup {
    let main = html! {
        div.bar { h1 { "Compare " (visible::name(&trace.root_name)) } }
        (form(&[trace.trace_id.to_string(), String::new()]))
        @if others.is_empty() { p.muted { "Paste the id of another trace." } } @else {
            table.numbers {
                caption { "The newest traces with this name" }
                thead { tr { th scope="col" { "Trace" } th scope="col" { "Status" } th.num scope="col" { "Spans" } th.num scope="col" { "Duration" } th.num scope="col" { "Started" } } }
                tbody {
                    @for other in others {
                        tr {
                            td { a href={ "/compare?a=" (trace.trace_id) "&b=" (other.trace_id) } { (visible::name(&other.root_name)) } @if other.error_count > 0 { span.errors { "✕ " (other.error_count) } } }
                            td { (visible::name(&other.root_status)) }
                            td.num { (other.span_count) }
                            td.num { (duration(other.duration_nano)) }
                            td.num { (time::age(other.start_unix_nano, other.order_unix_nano, now)) }
                        }
                    }
                }
            }
        }
    };
    layout::page("Compare two traces", Section::Traces, Refresh::No, &main)
}

/// Returns the form that compares other traces.
pub(super) fn form(ids: &[String; 2]) -> Markup {
    html! {
        form.filters method="get" action="/compare" {
            @for (name, id) in ["a", "b"].into_iter().zip(ids) {
                label.f-trace {
                    span { "Trace " (name.to_uppercase()) }
                    input type="search" name=(name) value=(visible::attribute(id)) placeholder="32 hexadecimal digits" autocomplete="off" spellcheck="false";
                }
            }
            div.actions { button type="submit" { "Compare" } }
        }
    }
}

fn heading(name: &str, side: &Side, now: u64) -> Markup {
    let Side { summary, is_complete, .. } = side;
    html! {
        section aria-label={ "Trace " (name) } {
            h2 { (name) ": " a href={ "/trace/" (summary.trace_id) } { @if summary.root_name.is_empty() { "unnamed" } @else { (visible::name(&summary.root_name)) } } }
            p {
                @if !summary.root_status.is_empty() { span.code { (summary.root_status) } " · " }
                (duration(summary.duration_nano)) " · " (count(summary.span_count, "span"))
                @if summary.error_count > 0 { span.errors { "✕ " (summary.error_count) } }
                " · " (time::clock(summary.start_unix_nano, now)) " " (time::zone())
            }
            @if !is_complete { p.notice { "Only its first 10,000 spans are compared." } }
        }
    }
}

fn cells(operation: Option<&Operation>, largest: u64) -> Markup {
    html! {
        @match operation {
            Some(operation) => {
                td.num { (operation.count) @if operation.errors > 0 { span.errors { "✕ " (operation.errors) } } }
                td.num { (duration(operation.total_nano)) }
                td.compared {
                    svg.share width="100%" height="6" aria-hidden="true" {
                        rect.front width={ (format!("{:.1}", operation.total_nano as f64 / largest.max(1) as f64 * 100.)) "%" } height="6" rx="3" {}
                    }
                }
            }
            None => { td.num { span.muted { "–" } } td.num { span.muted { "–" } } td.compared {} }
        }
    }
}

/// Returns how much longer the spans take in the second trace, in nanoseconds.
fn difference([a, b]: &Row<'_>) -> i64 {
    let total = |operation: &Option<&Operation>| {
        operation.map_or(0, |operation| i64::try_from(operation.total_nano).unwrap_or(i64::MAX))
    };
    total(b).saturating_sub(total(a))
}

fn signed(nanos: i64) -> String {
    let sign = if nanos > 0 {
        "+"
    } else if nanos < 0 {
        "−"
    } else {
        ""
    };
    format!("{sign}{}", duration(nanos.unsigned_abs()))
}
