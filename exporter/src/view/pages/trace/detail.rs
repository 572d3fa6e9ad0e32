//! The details of a span: in the panel of its page, and as a fragment for the script.

use logtracer_core::{SpanId, TraceId};
use maud::{Markup, PreEscaped, html};

use super::state::{Lines, State};
use super::value::{Filter, Value, Whole, copy, service_title};
use crate::otlp::in_place::{AnyRef, Attributes, EventRef, LinkRef, SpanRef};
use crate::store::{EmitterRow, ReadResult, Snapshot};
use crate::view::api;
use crate::view::bounded::Allowance;
use crate::view::format::duration;
use crate::view::pages::time;
use crate::view::visible::{self, Breaks};

/// The size of the details of one span, of what they show of its emitter, and of one value.
const MAX_BYTES: usize = 48 << 10;
const MAX_EMITTER_BYTES: usize = 24 << 10;
const MAX_VALUE_BYTES: usize = 8 << 10;

/// The size of the elements around an attribute, and around an event or a link.
const ROW_BYTES: usize = 64;
const PART_BYTES: usize = 256;

/// A span, and what its details show of its trace.
pub(super) struct Detail<'a> {
    pub(super) trace_id: TraceId,
    pub(super) trace_start: u64,
    pub(super) span_id: SpanId,
    pub(super) parent: Option<SpanId>,
    /// The parent is stored.
    pub(super) has_parent: bool,
    pub(super) self_time: u64,
    pub(super) lines: u64,
    /// What is added to the times to align them with the callers' clock.
    pub(super) offset: i64,
    pub(super) state: &'a State,
}

impl Detail<'_> {
    pub(super) fn render(
        &self,
        snapshot: &Snapshot<'_>,
        span: &SpanRef<'_>,
        origin: i64,
    ) -> ReadResult<Markup> {
        let rendered = snapshot.emitter(origin, |row| self.with_emitter(span, &row))?;
        Ok(rendered.unwrap_or(PreEscaped(String::new())))
    }

    fn with_emitter(&self, span: &SpanRef<'_>, emitter: &EmitterRow<'_>) -> Markup {
        let service = emitter.service_name();
        let json = format!("/api/traces/{}/spans/{}", self.trace_id, self.span_id);
        let mut parts = Parts::new(MAX_BYTES, &json, "attribute");
        let status = parts.text(span.status_message, MAX_VALUE_BYTES);
        let trace_state = parts.text(span.trace_state, 1024);
        let name = parts.text(span.name, 1024);
        let attributes = parts.table("Attributes", span.attributes(), span.dropped_attributes_count);
        let events = parts.list(span.events(), |parts, event| parts.event(&event, self.trace_start));
        let links = parts.list(span.links(), |_, link| link_to(&link));
        let mut of_emitter = Parts::new(MAX_EMITTER_BYTES, &json, "resource");
        let scope = format!(
            "{} {}",
            visible::plain(emitter.scope.name, Breaks::Show, 200),
            visible::plain(emitter.scope.version, Breaks::Show, 60)
        );
        let resource = of_emitter.table(
            "Resource",
            emitter.resource.attributes(),
            emitter.resource.dropped_attributes_count(),
        );
        let is_cut = parts.is_cut || of_emitter.is_cut;
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        html! {
            h2 { bdi { (name) } }
            @if is_cut { p.notice { "Only a part of this span is shown. " a href=(json) { "The whole span as JSON" } "." } }
            @if !status.0.is_empty() { p.status { (status) } }
            dl.facts {
                div { dt { "Service" } dd.clip title=(service_title(&service)) { a href=[Filter::Service.link("", &service)] { bdi { (visible::line(&service, 2048)) } } } }
                div { dt { "Kind" } dd { (api::kind(span)) } }
                div { dt { "Start" } dd { (time::full(start)) " " span.muted { (offset(start, self.trace_start)) } } }
                div { dt { "Duration" } dd { @if end < start { "ends before it starts" } @else { (duration(span.duration_nano())) } } }
                div { dt { "Self time" } dd { (duration(self.self_time)) } }
                @if self.offset != 0 {
                    div { dt { "Clock" } dd { (clock(self.offset)) } }
                }
                @if !scope.trim().is_empty() { div { dt { "Scope" } dd { (scope.trim()) } } }
            }
            dl.ids {
                (id("Trace id", &self.trace_id.to_string(), None))
                (id("Span id", &self.span_id.to_string(), None))
                @if let Some(parent) = self.parent {
                    (id("Parent", &parent.to_string(), self.has_parent.then(|| format!("{}#s-{parent}", self.state.opening(Some(parent), None)))))
                }
                (id("traceparent", &format!("00-{}-{}-01", self.trace_id, self.span_id), None))
                @if !trace_state.0.is_empty() { div { dt { "tracestate" } dd.mono { (trace_state) } } }
            }
            p.actions {
                @if self.lines > 0 {
                    a.button href={ (self.state.with(|state| { state.lines = Lines::Beside; state.of = Some(self.span_id); (state.line, state.row, state.first_line) = (None, None, 0); })) "#log" } { "Lines of this span (" (self.lines) ")" }
                }
                a.button href=(self.state.with(|state| { state.subtree = Some(self.span_id); state.row = None; })) { "Only this subtree" }
                a.button href=(json) { "JSON" }
            }
            (attributes) (events) (links) (resource)
        }
    }
}

/// Returns how far a time is after another.
fn offset(time: u64, start: u64) -> String {
    match time.checked_sub(start) {
        Some(after) => format!("+{}", duration(after)),
        None => format!("−{}", duration(start - time)),
    }
}

/// Returns what a clock shows wrong, from what has to be added to its times.
pub(super) fn clock(offset: i64) -> String {
    let direction = if offset > 0 { "behind" } else { "ahead" };
    format!("{} {direction}", duration(offset.unsigned_abs()))
}

fn id(name: &str, text: &str, href: Option<String>) -> Markup {
    html! {
        div {
            dt { (name) }
            dd.mono {
                @match href { Some(href) => { a href=(href) { (text) } } None => { (text) } }
                (copy(name, Some(text)))
            }
        }
    }
}

/// What the parts of the details may still take together.
struct Parts<'a> {
    allowance: Allowance,
    is_cut: bool,
    /// The address of the span, and the parameter for one of its attributes.
    json: &'a str,
    parameter: &'static str,
}

impl<'a> Parts<'a> {
    const fn new(max_bytes: usize, json: &'a str, parameter: &'static str) -> Self {
        Self { allowance: Allowance::new(max_bytes), is_cut: false, json, parameter }
    }

    fn text(&mut self, text: &str, max_bytes: usize) -> Markup {
        let (mut markup, is_all) = visible::text(text, Breaks::Keep, max_bytes.min(self.allowance.left()));
        self.allowance.spend(markup.0.len());
        if !is_all {
            self.is_cut = true;
            markup.0.push('…');
        }
        markup
    }

    fn table(&mut self, title: &str, attributes: Attributes<'_>, dropped: u32) -> Markup {
        let (rows, omitted) = self.rows(attributes, true);
        html! {
            @if !rows.is_empty() || omitted > 0 {
                table.attributes {
                    caption { (title) @if dropped > 0 { span.muted { " (" (dropped) " dropped by the sender)" } } }
                    (rows_of(&rows, omitted))
                }
            }
        }
    }

    /// Returns keys and values as far as they are allowed, and the number of the others.
    fn rows(&mut self, attributes: Attributes<'_>, have_address: bool) -> (Vec<(Markup, Markup)>, usize) {
        let (mut rows, mut omitted) = (Vec::new(), 0);
        for (key, value) in attributes.iter() {
            if !self.allowance.spend(ROW_BYTES) {
                omitted += 1;
                continue;
            }
            let shown_key = self.text(key, 1024);
            let value = self.value(key, value, have_address);
            rows.push((shown_key, value));
        }
        self.is_cut |= omitted > 0;
        (rows, omitted)
    }

    fn value(&mut self, key: &str, value: AnyRef<'_>, has_address: bool) -> Markup {
        let max_bytes = MAX_VALUE_BYTES.min(self.allowance.left());
        let (text, is_all) = value.text_within(max_bytes);
        let has_address = has_address && key.len() <= 1024;
        let address = || format!("{}?{}={}", self.json, self.parameter, super::state::encode(key));
        let whole = has_address.then(|| Whole::Value(address()));
        let filter = Some(Filter::of_attribute(key)).filter(|_| has_address && key.len() <= 200);
        let (markup, is_all) = Value { key, text: &text, is_all, whole, filter }.render(max_bytes);
        self.is_cut |= !is_all;
        self.allowance.spend(markup.0.len());
        markup
    }

    /// Renders events or links as far as they are allowed.
    fn list<T>(
        &mut self,
        items: impl Iterator<Item = T>,
        mut render: impl FnMut(&mut Self, T) -> Markup,
    ) -> Markup {
        let (mut shown, mut omitted) = (Vec::new(), 0_usize);
        for item in items {
            if self.allowance.spend(PART_BYTES) {
                shown.push(render(self, item));
            } else {
                omitted += 1;
            }
        }
        self.is_cut |= omitted > 0;
        html! {
            @for item in &shown { (item) }
            @if omitted > 0 { p.muted { "… and " (omitted) " more" } }
        }
    }

    fn event(&mut self, event: &EventRef<'_>, trace_start: u64) -> Markup {
        let offset = offset(event.time_unix_nano, trace_start);
        let name = self.text(event.name, 1024);
        let (rows, omitted) = self.rows(event.attributes(), false);
        html! {
            table.attributes {
                caption { "Event " b { (name) } span.muted { " at " (offset) } }
                (rows_of(&rows, omitted))
            }
        }
    }
}

fn rows_of(rows: &[(Markup, Markup)], omitted: usize) -> Markup {
    html! {
        @for (key, value) in rows {
            tr { th scope="row" { bdi { (key) } } td { (value) } }
        }
        @if omitted > 0 { tr { th scope="row" { "…" } td.muted { (omitted) " more" } } }
    }
}

fn link_to(link: &LinkRef<'_>) -> Markup {
    let ids = TraceId::from_bytes(link.trace_id.try_into().unwrap_or_default())
        .zip(SpanId::from_bytes(link.span_id.try_into().unwrap_or_default()));
    html! {
        @match ids {
            Some((trace_id, span_id)) => {
                p { "Link to " a.mono href={ "/trace/" (trace_id) "?span=" (span_id) "#s-" (span_id) } { (trace_id) } }
            }
            None => { p.muted { "A link with invalid ids" } }
        }
    }
}
