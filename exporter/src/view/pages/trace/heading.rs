//! The heading of a trace: one line of facts, which are links to the traces that share them.

use maud::{Markup, html};

use super::TracePage;
use super::detail::clock;
use super::hits::target;
use super::open::Opened;
use super::state::Path;
use super::value::{Filter, copy};
use crate::otlp::in_place::AnyRef;
use crate::store::{EmitterRow, ReadResult, Snapshot};
use crate::view::format::{count, duration};
use crate::view::pages::brief::Brief;
use crate::view::pages::time;
use crate::view::tree::Node;
use crate::view::visible::{self, Breaks};

/// The services that the heading names. Further ones are counted.
const MAX_SERVICES: usize = 30;

/// The size of a method, a route or a status. A longer one is not a filter of the list.
const MAX_FACT_BYTES: usize = 1100;

/// What the heading shows of the root, or of the first line of a trace without spans.
#[derive(Debug, Default)]
pub(super) struct Root {
    pub(super) name: String,
    service: Option<String>,
    method: Option<String>,
    route: Option<String>,
    status: Option<String>,
    is_failed: bool,
    /// The project of Google Cloud.
    pub(super) project: Option<String>,
}

impl Root {
    pub(super) fn read(snapshot: &Snapshot<'_>, opened: &Opened) -> ReadResult<Self> {
        let mut root = Self { name: opened.summary.root_name.clone(), ..Self::default() };
        let Some(node) = &opened.root else { return Ok(root) };
        root.is_failed = node.is_failed;
        snapshot.span(opened.seq, node.id, |row| {
            root.name = visible::plain(row.span.name, Breaks::Show, 200);
            for (key, value) in row.span.attributes().iter() {
                let field = match key {
                    "http.request.method" => &mut root.method,
                    "http.route" => &mut root.route,
                    "http.response.status_code" => &mut root.status,
                    _ => continue,
                };
                *field = Some(value.text_within(MAX_FACT_BYTES).0);
            }
            snapshot.emitter(row.origin, |emitter| {
                root.service = Some(emitter.service_name().into_owned());
                root.project = project(&emitter);
            })
        })?;
        Ok(root)
    }

    /// The name and the service of a trace that has only lines are those of the first one.
    pub(super) fn of_line(first: &Brief) -> Self {
        Self { name: first.name_of_trace(), service: first.service.clone(), ..Self::default() }
    }
}

impl TracePage {
    pub(super) fn heading(&self) -> Markup {
        let (trace, opened, root) = (&self.opened.summary, &self.opened, &self.root);
        let id = trace.trace_id.to_string();
        let root_duration = opened.root.as_ref().map(Node::duration);
        let extent = opened.extent;
        let path = format!("/api/traces/{id}");
        let service_names = &trace.service_names;
        html! {
            div.bar {
                @match &root.status {
                    Some(status) => {
                        @let class = if root.is_failed { "badge bad" } else { "badge good" };
                        @match Filter::Status.link("", status) {
                            Some(href) => { a class=(class) href=(href) title="Traces with this status" { (visible::line(status, 60)) } }
                            None => { span class=(class) { (visible::line(status, 60)) } }
                        }
                    }
                    None => { @if root.is_failed { span.badge.bad { "error" } } @else if trace.span_count == 0 { span.badge { "log lines only" } } }
                }
                h1 { bdi { @if self.title().is_empty() { "Unnamed trace" } @else { (visible::line(self.title(), 1200)) } } }
                span.grow {}
                a.button href=(path) { "JSON" }
                a.button href={ "/compare?a=" (id) } title="Compare it with another trace" { "Compare" }
                a.button href={ (path) "?format=otlp" } download={ "trace-" (id) ".json" } { "OTLP" }
                (copy("query for the Logs Explorer", Some(&super::line_detail::logs_explorer_query(root.project.as_deref(), trace.trace_id))))
            }
            dl.facts.of-trace {
                @if let Some(service) = &root.service { div { dt { "Service" } dd { (self.service(service)) } } }
                @if let Some(method) = &root.method { div { dt { "Method" } dd { a href=[Filter::Attribute.link("http.request.method", method)] { (visible::line(method, 200)) } } } }
                @if let Some(route) = &root.route { div { dt { "Route" } dd { a href=[Filter::Route.link("", route)] { bdi { (visible::line(route, 800)) } } } } }
                @if let Some(root_duration) = root_duration {
                    div { dt { "Duration" } dd { (duration(root_duration)) } }
                    @if extent.abs_diff(root_duration) > root_duration / 100 { div title="From the start of the earliest span to the end of the last one" { dt { "Extent" } dd { (duration(extent)) } } }
                }
                div { dt { "Spans" } dd { (trace.span_count) } }
                div { dt { "Errors" } dd {
                    @match opened.errors.next.or(opened.errors.previous) {
                        Some(first) => { a.bad href=(target(&self.state, first)) { (opened.error_count) } }
                        None => { (opened.error_count) }
                    }
                    @let lines = opened.error_count - opened.failed_count;
                    @if lines > 0 { span.muted { " (" (count(opened.failed_count, "span")) ", " (count(lines, "line")) ")" } }
                } }
                div { dt { "Lines" } dd { (trace.log_count) } }
                div { dt { "Started" } dd { (time::full(opened.trace_start)) } }
                div { dt { "Trace id" } dd.mono { (id) (copy("trace id", Some(&id))) } }
                @if !service_names.is_empty() {
                    div.wide { dt { "Services" } dd.services {
                        @for service in service_names.iter().take(MAX_SERVICES) {
                            (self.service(service))
                            @if let Some(offset) = self.offset_of(service) {
                                span.badge.warn title="Calls to this service seem to happen outside of their callers" { "clock " (clock(offset)) }
                            }
                        }
                        @if let Some(more) = service_names.len().checked_sub(MAX_SERVICES).filter(|more| *more > 0) { span.muted { "+" (more) } }
                    } }
                }
            }
        }
    }

    /// Renders what a reader has to know of what is shown.
    pub(super) fn notices(&self) -> Markup {
        let (opened, state) = (&self.opened, &self.state);
        let trace = &opened.summary;
        let (max_spans, max_lines) =
            (crate::view::tree::MAX_SPANS as u64, crate::view::tree::MAX_LINES as u64);
        html! {
            @if let Some(subtree) = &state.subtree {
                p.scope { "Only the subtree of " span.mono { (subtree) } @if opened.subtree.is_none() { ", which is not stored" } ". " a href=(state.with(|state| { state.subtree = None; state.row = None; })) { "The whole trace" } }
            }
            @if opened.implausible > 0 {
                p.scope { (count(opened.implausible, "span")) " with a time that cannot be right" @if opened.has_plausible { ": the axis is that of the others" } "." }
            }
            @if trace.span_count > max_spans {
                p.notice { "The tree has the earliest " (max_spans) " of " (trace.span_count) " spans. The OTLP download has all of them." }
            }
            @if trace.log_count > max_lines {
                p.notice { "The earliest " (max_lines) " of " (trace.log_count) " lines are shown. The OTLP download has all of them." }
            }
            @if !self.has_open_row {
                @match (state.span, state.line) {
                    (Some(span), _) => { p.notice { "The span " span.mono { (span) } " is not in this list: it is hidden, or is not stored." } }
                    (None, Some(line)) => { p.notice { "The line " span.mono { (line) } " is not in this list: it is hidden, or is not stored." } }
                    (None, None) => {}
                }
            }
        }
    }

    /// Returns why there are no rows, if there are none.
    pub(super) fn no_rows(&self) -> Option<&'static str> {
        let (state, opened) = (&self.state, &self.opened);
        if opened.rows.total > 0 || opened.summary.span_count == 0 {
            return None;
        }
        let is_critical = state.path == Path::Critical;
        Some(match (state.subtree.is_some() && opened.subtree.is_none(), state.services.is_empty()) {
            (true, _) => "No rows: the span is not stored",
            (_, false) if is_critical => "No span of these services is on the critical path",
            (_, false) => "No span of these services",
            (_, true) if is_critical => "No critical path: the first span takes no time",
            (_, true) => "No rows",
        })
    }

    /// Returns whether only some spans are shown.
    pub(super) fn is_filtered(&self) -> bool {
        let state = &self.state;
        state.subtree.is_some() || !state.services.is_empty() || state.path == Path::Critical
    }

    pub(super) fn offset_of(&self, service: &str) -> Option<i64> {
        let number = self.opened.services.iter().position(|name| **name == *service)?;
        self.opened.offsets.get(number).copied().filter(|offset| *offset != 0)
    }
}

/// Returns the project of Google Cloud that a resource names.
pub(super) fn project(emitter: &EmitterRow<'_>) -> Option<String> {
    let is_project = |key: &str| matches!(key, "gcp.project_id" | "gcp.project.id" | "cloud.account.id");
    emitter.resource.attributes().iter().find_map(|(key, value)| match value {
        AnyRef::Text(project) if is_project(key) && !project.is_empty() => Some(project.to_owned()),
        _ => None,
    })
}
