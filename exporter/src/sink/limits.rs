//! Limits for the texts and lists of a span or a log record: longer texts are truncated, and additional attributes, events
//! and links are dropped and counted in it.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::otlp::any_value;
use crate::truncate::truncate;

/// The sizes are in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Of a span, an event, a scope.
    pub(super) name: usize,
    pub(super) key: usize,
    pub(super) value: usize,
    /// Of a span, a resource, a scope.
    pub(super) attributes: usize,
    /// Of an event, a link.
    pub(super) nested_attributes: usize,
    pub(super) events: usize,
    pub(super) links: usize,
}

/// The limits of Google's Telemetry API (<https://docs.cloud.google.com/stackdriver/quotas>).
pub(super) const LARGE: Limits = Limits {
    name: 1024,
    key: 512,
    value: 64 << 10,
    attributes: 1024,
    nested_attributes: 1024,
    events: 256,
    links: 128,
};

/// Every span within these limits fits in a request.
pub(super) const SMALL: Limits =
    Limits { name: 256, key: 128, value: 256, attributes: 32, nested_attributes: 4, events: 32, links: 32 };

impl Limits {
    /// Brings a span within the limits.
    pub(super) fn span(&self, span: &mut Span) {
        shorten(&mut span.name, self.name);
        shorten(&mut span.trace_state, self.value);
        if let Some(status) = &mut span.status {
            shorten(&mut status.message, self.value);
        }
        add(&mut span.dropped_attributes_count, self.attributes(&mut span.attributes, self.attributes));
        add(&mut span.dropped_events_count, drop_excess(&mut span.events, self.events));
        for event in &mut span.events {
            shorten(&mut event.name, self.name);
            let dropped = self.attributes(&mut event.attributes, self.nested_attributes);
            add(&mut event.dropped_attributes_count, dropped);
        }
        add(&mut span.dropped_links_count, drop_excess(&mut span.links, self.links));
        for link in &mut span.links {
            shorten(&mut link.trace_state, self.value);
            let dropped = self.attributes(&mut link.attributes, self.nested_attributes);
            add(&mut link.dropped_attributes_count, dropped);
        }
    }

    /// Brings a log record within the limits. A body that is too long and not a text becomes one.
    pub(super) fn log_record(&self, record: &mut LogRecord) {
        shorten(&mut record.severity_text, self.name);
        shorten(&mut record.event_name, self.name);
        if let Some(AnyValue { value: Some(body) }) = &mut record.body {
            match body {
                Any::StringValue(text) => shorten(text, self.value),
                other if other.encoded_len() > self.value => {
                    let text = any_value::text_within(record.body.as_ref(), self.value);
                    record.body = Some(AnyValue { value: Some(Any::StringValue(text)) });
                }
                _ => {}
            }
        }
        add(&mut record.dropped_attributes_count, self.attributes(&mut record.attributes, self.attributes));
    }

    /// Brings a resource within the limits.
    pub(super) fn resource(&self, resource: &mut Resource) {
        let dropped = self.attributes(&mut resource.attributes, self.attributes);
        add(&mut resource.dropped_attributes_count, dropped);
        if resource.entity_refs.iter().map(Message::encoded_len).sum::<usize>() > self.value {
            resource.entity_refs.clear();
        }
    }

    /// Brings a scope within the limits.
    pub(super) fn scope(&self, scope: &mut InstrumentationScope) {
        shorten(&mut scope.name, self.name);
        shorten(&mut scope.version, self.name);
        add(&mut scope.dropped_attributes_count, self.attributes(&mut scope.attributes, self.attributes));
    }

    /// Brings attributes within the limits, and returns the number of dropped ones.
    fn attributes(&self, attributes: &mut Vec<KeyValue>, max: usize) -> u32 {
        let before = attributes.len();
        attributes.retain_mut(|attribute| {
            let value = attribute.value.as_mut().and_then(|value| value.value.as_mut());
            let fits = match value {
                Some(Any::StringValue(text)) => {
                    shorten(text, self.value);
                    true
                }
                // A truncated list or byte string would be another value.
                Some(other) => other.encoded_len() <= self.value,
                None => true,
            };
            fits && attribute.key.len() <= self.key
        });
        attributes.truncate(max);
        u32::try_from(before - attributes.len()).unwrap_or(u32::MAX)
    }
}

/// Adds to a count of the sender, which can have any value.
fn add(count: &mut u32, more: u32) {
    *count = count.saturating_add(more);
}

fn shorten(text: &mut String, max_bytes: usize) {
    text.truncate(truncate(text, max_bytes).len());
    if text.capacity() > 2 * text.len() {
        text.shrink_to_fit();
    }
}

fn drop_excess<T>(list: &mut Vec<T>, most: usize) -> u32 {
    let more = list.len().saturating_sub(most);
    list.truncate(most);
    u32::try_from(more).unwrap_or(u32::MAX)
}
