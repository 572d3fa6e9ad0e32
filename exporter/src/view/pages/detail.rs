//! The details of a span, which open below it.

use maud::{Markup, html};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

use crate::otlp::any_value;
use crate::store::StoredSpan;
use crate::view::api;
use crate::view::format::duration;

pub(super) fn span(stored: &StoredSpan, trace_start: u64) -> Markup {
    let span = &stored.span;
    let emitter = &stored.emitter;
    let status = span.status.as_ref().map_or("", |status| status.message.as_str());
    html! {
        div.detail {
            @if !status.is_empty() { p.status { (status) } }
            dl.facts {
                div { dt { "Service" } dd { (emitter.service_name) } }
                div { dt { "Kind" } dd { (api::kind(stored)) } }
                div { dt { "Start" } dd { "+" (duration(span.start_time_unix_nano.saturating_sub(trace_start))) } }
                div { dt { "Duration" } dd { (duration(stored.duration_nano())) } }
                div { dt { "Span id" } dd.mono { a href={ "?span=" (stored.span_id) "#s-" (stored.span_id) } { (stored.span_id) } } }
                @if let Some(parent) = stored.parent_span_id {
                    div { dt { "Parent" } dd.mono { a href={ "#s-" (parent) } { (parent) } } }
                }
                @if !emitter.scope.name.is_empty() {
                    div { dt { "Scope" } dd { (emitter.scope.name) " " (emitter.scope.version) } }
                }
                @if !span.trace_state.is_empty() {
                    div { dt { "tracestate" } dd.mono { (span.trace_state) } }
                }
            }
            div.tables {
                (table("Attributes", &span.attributes, span.dropped_attributes_count))
                (table("Resource", &emitter.resource.attributes, emitter.resource.dropped_attributes_count))
            }
            @for event in &span.events { (self::event(event, trace_start)) }
            @for link in &span.links { (self::link(link)) }
        }
    }
}

fn table(title: &str, attributes: &[KeyValue], dropped: u32) -> Markup {
    html! {
        @if !attributes.is_empty() {
            table.attributes {
                caption { (title) @if dropped > 0 { span.muted { " (" (dropped) " dropped by the sender)" } } }
                @for attribute in attributes {
                    tr { th scope="row" { (attribute.key) } td { (any_value::text(attribute.value.as_ref())) } }
                }
            }
        }
    }
}

fn event(event: &Event, trace_start: u64) -> Markup {
    html! {
        div.tables { (event_table(event, trace_start)) }
    }
}

fn event_table(event: &Event, trace_start: u64) -> Markup {
    let offset = duration(event.time_unix_nano.saturating_sub(trace_start));
    html! {
        table.attributes {
            caption { "Event " b { (event.name) } span.muted { " at +" (offset) } }
            @for attribute in &event.attributes {
                tr { th scope="row" { (attribute.key) } td { (any_value::text(attribute.value.as_ref())) } }
            }
        }
    }
}

fn link(link: &Link) -> Markup {
    let (trace_id, span_id) = (hex::encode(&link.trace_id), hex::encode(&link.span_id));
    html! {
        p { "Link to " a.mono href={ "/trace/" (trace_id) "?span=" (span_id) "#s-" (span_id) } { (trace_id) } }
    }
}
