//! The details of a span, which open below it.

use logtracer_core::{SpanId, TraceId};
use maud::{Markup, PreEscaped, html};

use crate::otlp::in_place::{Attributes, EventRef, LinkRef};
use crate::store::{EmitterRow, Snapshot, SpanRow};
use crate::view::api;
use crate::view::bounded::Allowance;
use crate::view::format::duration;

/// The size of the details of one span, of what they show of its emitter, and of one value.
const MAX_BYTES: usize = 48 << 10;
const MAX_EMITTER_BYTES: usize = 24 << 10;
const MAX_VALUE_BYTES: usize = 8 << 10;

/// The size of the elements around an attribute, an event or a link.
const ROW_BYTES: usize = 64;
const PART_BYTES: usize = 256;

/// A span, and what its details need to know of its trace.
pub(super) struct Detail<'a> {
    pub(super) trace_id: TraceId,
    pub(super) trace_start: u64,
    pub(super) span_id: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) row: &'a SpanRow<'a>,
}

impl Detail<'_> {
    /// Renders the details. Takes and returns the rendered resource of the last span, because a resource is often that
    /// of the next span, and can be large.
    pub(super) fn render(
        &self,
        snapshot: &Snapshot<'_>,
        last_resource: Option<(i64, Emitter)>,
    ) -> rusqlite::Result<(Markup, (i64, Emitter))> {
        let origin = self.row.origin;
        let emitter = match last_resource.filter(|(last, _)| *last == origin) {
            Some((_, emitter)) => emitter,
            None => snapshot.emitter(origin, |row| Emitter::render(&row))?.unwrap_or_default(),
        };
        Ok((self.render_with(&emitter), (origin, emitter)))
    }

    fn render_with(&self, emitter: &Emitter) -> Markup {
        let span = &self.row.span;
        let mut parts = Parts::new(MAX_BYTES);
        let status = parts.text(span.status_message, MAX_VALUE_BYTES);
        let trace_state = parts.text(span.trace_state, 1024);
        let attributes = parts.table("Attributes", span.attributes(), span.dropped_attributes_count);
        let events = parts.list(span.events(), |parts, event| parts.event(&event, self.trace_start));
        let links = parts.list(span.links(), |_, link| link_to(&link));
        html! {
            div.detail {
                @if parts.is_cut || emitter.is_cut { (self.cut("Only a part of this span is shown. ")) }
                @if !status.is_empty() { p.status { (status) } }
                dl.facts {
                    div { dt { "Service" } dd.clip title=(emitter.service_name) { bdi { (emitter.service_name) } } }
                    div { dt { "Kind" } dd { (api::kind(span)) } }
                    div { dt { "Start" } dd { "+" (duration(span.start_time_unix_nano.saturating_sub(self.trace_start))) } }
                    div { dt { "Duration" } dd { (duration(span.duration_nano())) } }
                    div { dt { "Span id" } dd.mono { (span_link(self.span_id)) } }
                    @if let Some(parent) = self.parent {
                        div { dt { "Parent" } dd.mono { (span_link(parent)) } }
                    }
                    @if !emitter.scope.is_empty() {
                        div { dt { "Scope" } dd { (emitter.scope) } }
                    }
                    @if !trace_state.is_empty() {
                        div { dt { "tracestate" } dd.mono { (trace_state) } }
                    }
                }
                div.tables { (attributes) (emitter.resource) }
                (events)
                (links)
            }
        }
    }

    /// Renders what replaces the details when the page has too many of them.
    pub(super) fn elsewhere(&self) -> Markup {
        html! {
            div.detail {
                p.notice { "This page is long, so it does not have the details of this span. " a href={ "?span=" (self.span_id) "#s-" (self.span_id) } { "Show them" } " or " (self.json()) "." }
            }
        }
    }

    fn cut(&self, text: &str) -> Markup {
        html! { p.notice { (text) (self.json()) "." } }
    }

    fn json(&self) -> Markup {
        html! { a href={ "/api/traces/" (self.trace_id) "/spans/" (self.span_id) } { "The whole span as JSON" } }
    }
}

fn span_link(id: SpanId) -> Markup {
    html! { a href={ "?span=" (id) "#s-" (id) } { (id) } }
}

/// What the parts of the details may still take together.
struct Parts {
    allowance: Allowance,
    is_cut: bool,
}

/// What the details show of an emitter.
#[derive(Debug)]
pub(super) struct Emitter {
    service_name: String,
    /// The name and the version.
    scope: String,
    resource: Markup,
    is_cut: bool,
}

impl Default for Emitter {
    fn default() -> Self {
        let resource = PreEscaped(String::new());
        Self { service_name: String::new(), scope: String::new(), resource, is_cut: false }
    }
}

impl Emitter {
    fn render(row: &EmitterRow<'_>) -> Self {
        let mut parts = Parts::new(MAX_EMITTER_BYTES);
        let scope = format!("{} {}", parts.text(row.scope.name, 1024), parts.text(row.scope.version, 256));
        let dropped = row.resource.dropped_attributes_count();
        let resource = parts.table("Resource", row.resource.attributes(), dropped);
        let (service_name, scope) = (row.service_name().into_owned(), scope.trim_end().to_owned());
        Self { service_name, scope, resource, is_cut: parts.is_cut }
    }
}

impl Parts {
    const fn new(max_bytes: usize) -> Self {
        Self { allowance: Allowance::new(max_bytes), is_cut: false }
    }

    fn text(&mut self, text: &str, max_bytes: usize) -> String {
        let (start, is_all) = self.allowance.take(text, max_bytes);
        self.is_cut |= !is_all;
        if is_all { start.to_owned() } else { format!("{start}…") }
    }

    fn table(&mut self, title: &str, attributes: Attributes<'_>, dropped: u32) -> Markup {
        let (rows, omitted) = self.rows(attributes);
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
    fn rows(&mut self, attributes: Attributes<'_>) -> (Vec<(String, String)>, usize) {
        let (mut rows, mut omitted) = (Vec::new(), 0);
        for (key, value) in attributes.iter() {
            if !self.allowance.spend(ROW_BYTES) {
                omitted += 1;
                continue;
            }
            let key = self.text(key, 1024);
            let (text, is_all) = value.text_within(MAX_VALUE_BYTES.min(self.allowance.left()));
            let mut text = self.text(&text, MAX_VALUE_BYTES);
            if !is_all {
                self.is_cut = true;
                text = format!("{}…", text.trim_end_matches('…'));
            }
            rows.push((key, text));
        }
        self.is_cut |= omitted > 0;
        (rows, omitted)
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
        let offset = duration(event.time_unix_nano.saturating_sub(trace_start));
        let name = self.text(event.name, 1024);
        let (rows, omitted) = self.rows(event.attributes());
        html! {
            div.tables {
                table.attributes {
                    caption { "Event " b { (name) } span.muted { " at +" (offset) } }
                    (rows_of(&rows, omitted))
                }
            }
        }
    }
}

fn rows_of(rows: &[(String, String)], omitted: usize) -> Markup {
    html! {
        @for (key, value) in rows {
            tr { th scope="row" { bdi { (key) } } td { bdi { (value) } } }
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
