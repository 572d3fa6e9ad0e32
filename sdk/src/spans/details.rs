//! [`Details`]: the attributes, events and links of a span, bounded.

use std::borrow::Cow;

use logtracer_core::otlp::{Attributes, DroppedDetails, SpanDetails};
use logtracer_core::span::Link;
use logtracer_core::{RemoteContext, TraceContext};

use super::AttributeValue;

/// The maximum number of attributes, of events and of links of a span, as in OpenTelemetry's SDKs.
const MAX_COUNT: usize = 128;
/// The maximum size of all of them together, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// The size of an attribute, an event or a link without its texts.
const BASE_BYTES: usize = 32;

pub(super) type Key = Cow<'static, str>;

/// What is recorded in a span. What exceeds the limits is dropped and counted in the span.
#[derive(Debug, Clone, Default)]
pub(super) struct Details {
    attributes: Vec<(Key, AttributeValue)>,
    events: Vec<(u64, SpanEvent)>,
    links: Vec<SpanLink>,
    dropped: DroppedDetails,
    bytes: usize,
    /// The span failed.
    pub(super) failed: bool,
}

impl Details {
    /// Sets an attribute, whose value is [truncated](AttributeValue::truncated). A later value replaces an earlier one
    /// with the same key.
    pub(super) fn set(&mut self, key: Key, value: AttributeValue) {
        if let Some(index) = self.attributes.iter().position(|(other, _)| *other == key) {
            let (key, old) = self.attributes.remove(index);
            self.bytes = self.bytes.saturating_sub(size_of_attribute(&key, &old));
        }
        let bytes = size_of_attribute(&key, &value);
        if self.reserve(self.attributes.len(), bytes) {
            self.attributes.push((key, value));
        } else {
            self.dropped.attributes = self.dropped.attributes.saturating_add(1);
        }
    }

    /// Sets an attribute unless the span has one with this key.
    pub(super) fn set_default(&mut self, key: &'static str, value: AttributeValue) {
        if !self.has_attribute(key) {
            self.set(key.into(), value.truncated());
        }
    }

    /// Adds an event at this time, in nanoseconds since 1970.
    pub(super) fn add_event(&mut self, unix_nanos: u64, event: SpanEvent) {
        if self.reserve(self.events.len(), BASE_BYTES + event.name.len() + size_of_all(&event.attributes)) {
            self.events.push((unix_nanos, event));
        } else {
            self.dropped.events = self.dropped.events.saturating_add(1);
        }
    }

    pub(super) fn add_link(&mut self, link: SpanLink) {
        if self.reserve(self.links.len(), BASE_BYTES + size_of_all(&link.attributes)) {
            self.links.push(link);
        } else {
            self.dropped.links = self.dropped.links.saturating_add(1);
        }
    }

    /// Returns true if there is space for this many bytes, and takes it.
    fn reserve(&mut self, count: usize, bytes: usize) -> bool {
        let fits = count < MAX_COUNT && self.bytes.saturating_add(bytes) <= MAX_BYTES;
        if fits {
            self.bytes += bytes;
        }
        fits
    }

    /// Adds what was recorded later.
    pub(super) fn append(&mut self, other: Self) {
        other.attributes.into_iter().for_each(|(key, value)| self.set(key, value));
        other.events.into_iter().for_each(|(time, event)| self.add_event(time, event));
        other.links.into_iter().for_each(|link| self.add_link(link));
        self.failed |= other.failed;
        self.dropped.attributes = self.dropped.attributes.saturating_add(other.dropped.attributes);
        self.dropped.events = self.dropped.events.saturating_add(other.dropped.events);
        self.dropped.links = self.dropped.links.saturating_add(other.dropped.links);
    }

    /// Returns true if the span has an attribute with this key.
    pub(super) fn has_attribute(&self, key: &str) -> bool {
        self.attributes.iter().any(|(other, _)| *other == *key)
    }

    pub(super) fn write(&self, to: &mut SpanDetails<'_>) {
        write_all(&self.attributes, &mut to.attributes());
        for (time, event) in &self.events {
            to.event(&event.name, *time, |attributes| write_all(&event.attributes, attributes));
        }
        for link in &self.links {
            let to_span = Link { context: RemoteContext::from(link.context), tracestate: "" };
            to.link(to_span, |attributes| write_all(&link.attributes, attributes));
        }
        to.dropped(self.dropped);
    }
}

pub(super) fn write_all(values: &[(Key, AttributeValue)], attributes: &mut Attributes<'_>) {
    values.iter().for_each(|(key, value)| attributes.value(key, value.as_otlp()));
}

/// Sets an attribute of a list in which each key is unique, as OTLP requires.
fn replace(attributes: &mut Vec<(Key, AttributeValue)>, key: Key, value: AttributeValue) {
    attributes.retain(|(other, _)| *other != key);
    attributes.push((key, value));
}

fn size_of_all(attributes: &[(Key, AttributeValue)]) -> usize {
    attributes.iter().map(|(key, value)| size_of_attribute(key, value)).sum()
}

fn size_of_attribute(key: &str, value: &AttributeValue) -> usize {
    BASE_BYTES + key.len() + value.size()
}

/// Something that happened at a moment of a span, such as a retry.
///
/// ```
/// use logtracer_sdk::spans::{SpanEvent, span};
///
/// let mut guard = span("load-config").enter();
/// guard.event("cache miss");
/// guard.event(SpanEvent::new("retry").attribute("attempt", 2));
/// assert_eq!(SpanEvent::from("cache miss"), SpanEvent::new("cache miss"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SpanEvent {
    name: Key,
    attributes: Vec<(Key, AttributeValue)>,
}

impl SpanEvent {
    /// Returns an event with this name. A good name is general: attributes hold the details.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), attributes: Vec::new() }
    }

    /// Sets an attribute. A later value replaces an earlier one with the same key.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<AttributeValue>) -> Self {
        replace(&mut self.attributes, key.into(), value.into().truncated());
        self
    }
}

impl From<&'static str> for SpanEvent {
    fn from(name: &'static str) -> Self {
        Self::new(name)
    }
}

impl From<String> for SpanEvent {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// A reference to another span that caused this one, such as the sender of a message in a batch.
///
/// ```
/// use logtracer_sdk::prelude::*;
/// use logtracer_sdk::TraceContext;
/// use logtracer_sdk::spans::{SpanLink, span};
///
/// let sender = TraceContext::new_root();
/// let link = SpanLink::new(sender).attribute("messaging.message.id", "17");
/// assert_ne!(link, SpanLink::from(sender));
/// let guard = span("process-batch").link(link).link(TraceContext::new_root()).enter();
/// # drop(guard);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SpanLink {
    context: TraceContext,
    attributes: Vec<(Key, AttributeValue)>,
}

impl SpanLink {
    /// Returns a link to the span of this context.
    pub fn new(context: TraceContext) -> Self {
        Self { context, attributes: Vec::new() }
    }

    /// Sets an attribute. A later value replaces an earlier one with the same key.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<AttributeValue>) -> Self {
        replace(&mut self.attributes, key.into(), value.into().truncated());
        self
    }
}

impl From<TraceContext> for SpanLink {
    fn from(context: TraceContext) -> Self {
        Self::new(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::current::TraceContextExt;

    #[test]
    fn a_later_value_replaces_an_earlier_one() {
        let mut details = Details::default();
        details.set("a".into(), 1.into());
        details.set("b".into(), 2.into());
        details.set("a".into(), 3.into());
        assert_eq!(details.attributes, [("b".into(), 2.into()), ("a".into(), 3.into())]);
        assert_eq!(details.bytes, 2 * (BASE_BYTES + 1 + 8));
    }

    #[test]
    fn the_keys_of_events_and_links_are_unique() {
        let event = SpanEvent::new("retry").attribute("a", 1).attribute("b", 2).attribute("a", 3);
        assert_eq!(event.attributes, [("b".into(), 2.into()), ("a".into(), 3.into())]);
        let link = SpanLink::new(TraceContext::new_root()).attribute("a", 1).attribute("a", 2);
        assert_eq!(link.attributes, [("a".into(), 2.into())]);
    }

    #[test]
    fn the_number_of_each_kind_is_bounded() {
        let mut details = Details::default();
        for number in 0..MAX_COUNT + 3 {
            details.set(format!("key {number}").into(), number.into());
            details.add_event(0, SpanEvent::new("event"));
            details.add_link(TraceContext::new_root().into());
        }
        let counts = (details.attributes.len(), details.events.len(), details.links.len());
        assert_eq!(counts, (MAX_COUNT, MAX_COUNT, MAX_COUNT));
        assert_eq!(details.dropped, DroppedDetails { attributes: 3, events: 3, links: 3 });
    }

    #[test]
    fn the_size_of_all_is_bounded() {
        let mut details = Details::default();
        let long = "x".repeat(5000);
        for number in 0..100 {
            details.set(format!("key {number}").into(), long.as_str().into());
            details.add_event(0, SpanEvent::new("event").attribute("long", long.as_str()));
            details.add_event(0, SpanEvent::new("list").attribute("long", vec![long.as_str(); 100]));
        }
        assert!(details.bytes <= MAX_BYTES);
        assert!(details.attributes.len() > 5 && details.events.len() > 5, "{details:?}");
        assert_eq!(details.dropped.attributes as usize, 100 - details.attributes.len());
        assert_eq!(details.dropped.events as usize, 200 - details.events.len());
    }
}
