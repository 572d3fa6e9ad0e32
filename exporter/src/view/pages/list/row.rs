//! A trace as one row of the list.

use maud::{Markup, html};

use super::super::palette::Palette;
use crate::store::{ReadResult, Snapshot, Sort, TraceCursor, TraceSummary};
use crate::view::format::{count, duration, rfc3339};
use crate::view::pages::brief::Brief;
use crate::view::pages::time;
use crate::view::parameters::{Parameters, is_status};
use crate::view::visible;

/// What all rows of a list share.
pub(in crate::view) struct Rows {
    /// The filter of the list, to which the links of a row add.
    pub(in crate::view) parameters: Parameters,
    pub(in crate::view) longest: u64,
    pub(in crate::view) now: u64,
}

/// Bars begin at this duration: their length is logarithmic.
const SHORTEST: f64 = 1e4;

pub(super) fn head() -> Markup {
    html! {
        thead {
            tr {
                th.state scope="col" { "Status" }
                th.what scope="col" { "Request" }
                th.of scope="col" { "Service" }
                th.num.spans scope="col" { "Spans" }
                th.num.lines scope="col" { "Lines" }
                th.took scope="col" { "Duration" }
                th.num.when scope="col" { "Started" }
            }
        }
    }
}

impl Rows {
    /// Renders the row of a trace. A trace that has only lines is named by the first one.
    pub(in crate::view) fn read(&self, snapshot: &Snapshot<'_>, trace: &TraceSummary) -> ReadResult<Markup> {
        if trace.span_count > 0 {
            return Ok(self.row(trace, &visible::name(&trace.root_name)));
        }
        let first = Brief::first(snapshot, trace.trace_id)?;
        let name = first.map(|first| first.name_of_trace()).unwrap_or_default();
        Ok(self.row(trace, &html! { (visible::name(&name)) span.badge { "lines only" } }))
    }

    fn row(&self, trace: &TraceSummary, name: &Markup) -> Markup {
        let has_failed = trace.error_count > 0;
        let id = trace.trace_id.to_string();
        let services = &trace.service_names;
        // The service that names the trace. A trace of lines only has those of its lines.
        let service = Some(&trace.root_service).filter(|name| !name.is_empty()).or(services.first());
        let palette = Palette::of_trace(services.iter().map(String::as_str));
        let others = services.iter().filter(|other| Some(*other) != service).count();
        let started = trace.start_unix_nano;
        let is_misplaced = trace.order_unix_nano != started || trace.has_wrong_times;
        html! {
            tr.failed[has_failed] id={ "t-" (id) } data-cursor=(TraceCursor::after(Sort::Newest, trace.key)) {
                td.state {
                    @if is_status(&trace.root_status) {
                        a class={ "code " (class(&trace.root_status)) } href=(self.parameters.with("status", &trace.root_status).link("/")) { (visible::name(&trace.root_status)) }
                    } @else if !trace.root_status.is_empty() {
                        span class={ "code " (class(&trace.root_status)) } { (visible::name(&trace.root_status)) }
                    } @else if has_failed {
                        a.code.bad href=(self.parameters.with("status", "error").link("/")) { "error" }
                    }
                }
                td.what {
                    a href={ "/trace/" (id) } title=(id) {
                        @if trace.root_name.is_empty() && trace.span_count > 0 { span.muted { "unnamed span" } } @else { (name) }
                    }
                    @if has_failed {
                        span.errors title=(count(trace.error_count, "failed span")) { "✕ " (trace.error_count) }
                    }
                    span.quick {
                        button.copy type="button" hidden data-copy=(id) title={ "Copy the trace id " (id) } aria-label="Copy the trace id" { "⧉" }
                        a.compare href={ "/compare?a=" (id) } title="Compare it with another trace" aria-label="Compare it with another trace" { "⇄" }
                    }
                }
                td.of {
                    @if let Some(service) = service {
                        a class={ "service " (palette.class(service)) } href=(self.parameters.with("service", service).link("/")) title=(visible::title(service)) { i {} (visible::name(service)) }
                    }
                    @if others > 0 {
                        span.muted title=(visible::title(&services.join(", "))) { " +" (others) }
                    }
                }
                td.num.spans { (number(trace.span_count)) }
                td.num.lines { (number(trace.log_count)) }
                td.took {
                    @if trace.has_wrong_times {
                        span.muted title="Its times cannot be right" { "–" }
                    } @else if trace.span_count > 0 {
                        svg.share data-nano=(trace.duration_nano) width="100%" height="6" aria-hidden="true" {
                            rect.back width="100%" height="6" rx="3" {}
                            rect.front width={ (format!("{:.1}", self.share(trace.duration_nano) * 100.)) "%" } height="6" rx="3" {}
                        }
                        span { (duration(trace.duration_nano)) }
                    }
                }
                td.num.when {
                    (time::age(started, trace.order_unix_nano, self.now))
                    @if is_misplaced {
                        " " span.badge.warn title={ "Its spans start at " (rfc3339(started)) ". It is listed by its arrival." } { "clock" }
                    }
                }
            }
        }
    }

    /// Returns the length of the bar of a duration.
    fn share(&self, nanos: u64) -> f64 {
        let log = |nanos: u64| (nanos as f64 / SHORTEST).max(1.).ln();
        let longest = log(self.longest).max(log(1_000_000));
        (log(nanos) / longest).clamp(0.01, 1.)
    }
}

fn number(number: u64) -> Markup {
    html! { @if number == 0 { span.muted { "–" } } @else { (number) } }
}

/// Returns the class of a status: an HTTP status code, or the name of a gRPC status code.
pub(super) fn class(status: &str) -> &'static str {
    match status.as_bytes() {
        [b'5', _, _] => "bad",
        [b'4', _, _] => "warn",
        [b'1'..=b'3', _, _] | b"OK" => "good",
        b"UNKNOWN" | b"DEADLINE_EXCEEDED" | b"UNIMPLEMENTED" | b"INTERNAL" | b"UNAVAILABLE"
        | b"DATA_LOSS" => "bad",
        _ => "warn",
    }
}
