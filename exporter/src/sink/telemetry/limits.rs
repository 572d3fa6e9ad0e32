//! The limits of the Telemetry API (<https://docs.cloud.google.com/stackdriver/quotas>): longer strings are truncated,
//! and additional attributes, events and links are dropped and counted.

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::truncate::truncate;

const MAX_NAME_BYTES: usize = 1024;
const MAX_KEY_BYTES: usize = 512;
const MAX_VALUE_BYTES: usize = 64 << 10;
const MAX_ATTRIBUTES: usize = 1024;
const MAX_EVENTS: usize = 256;
const MAX_LINKS: usize = 128;

/// In a span of this size, every text is within its limit, because the limit of a key is the smallest. Only links
/// without ids could exceed their number.
const SHORT_BYTES: usize = MAX_KEY_BYTES;

/// Brings a span within the limits. Returns `None` if it is within them.
pub(super) fn span(bytes: &Bytes) -> Option<Bytes> {
    if bytes.len() <= SHORT_BYTES {
        return None;
    }
    let before = Span::decode(bytes.clone()).ok()?;
    let mut span = before.clone();
    truncate_name(&mut span.name);
    add(&mut span.dropped_attributes_count, attributes(&mut span.attributes));
    add(&mut span.dropped_events_count, drop_excess(&mut span.events, MAX_EVENTS));
    for event in &mut span.events {
        truncate_name(&mut event.name);
        add(&mut event.dropped_attributes_count, attributes(&mut event.attributes));
    }
    add(&mut span.dropped_links_count, drop_excess(&mut span.links, MAX_LINKS));
    for link in &mut span.links {
        add(&mut link.dropped_attributes_count, attributes(&mut link.attributes));
    }
    (span != before).then(|| span.encode_to_vec().into())
}

/// Brings a resource within the limits.
pub(super) fn resource(resource: &mut Resource) {
    add(&mut resource.dropped_attributes_count, attributes(&mut resource.attributes));
}

/// Adds to a count of the sender, which can have any value.
fn add(count: &mut u32, more: u32) {
    *count = count.saturating_add(more);
}

fn truncate_name(name: &mut String) {
    name.truncate(truncate(name, MAX_NAME_BYTES).len());
}

/// Brings attributes within the limits, and returns the number of dropped ones.
fn attributes(attributes: &mut Vec<KeyValue>) -> u32 {
    let before = attributes.len();
    attributes.retain_mut(|attribute| {
        let value = attribute.value.as_mut().and_then(|value| value.value.as_mut());
        let fits = match value {
            Some(Any::StringValue(text)) => {
                text.truncate(truncate(text, MAX_VALUE_BYTES).len());
                true
            }
            // A truncated list or byte string would be another value.
            Some(other) => other.encoded_len() <= MAX_VALUE_BYTES,
            None => true,
        };
        fits && attribute.key.len() <= MAX_KEY_BYTES
    });
    attributes.truncate(MAX_ATTRIBUTES);
    u32::try_from(before - attributes.len()).unwrap_or(u32::MAX)
}

fn drop_excess<T>(list: &mut Vec<T>, most: usize) -> u32 {
    let more = list.len().saturating_sub(most);
    list.truncate(most);
    u32::try_from(more).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

    fn attribute(key: String, value: Any) -> KeyValue {
        KeyValue { key, value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
    }

    #[test]
    fn a_span_within_the_limits_is_unchanged() {
        let many = (0..MAX_ATTRIBUTES).map(|n| attribute(format!("{n}"), Any::IntValue(1)));
        let full = Span {
            name: "x".repeat(MAX_NAME_BYTES),
            attributes: many.collect(),
            events: vec![Event::default(); MAX_EVENTS],
            links: vec![Link::default(); MAX_LINKS],
            ..Default::default()
        };
        for within in [Span::default(), full] {
            assert_eq!(span(&within.encode_to_vec().into()), None);
        }
    }

    #[test]
    fn excess_is_truncated_or_dropped_and_counted() {
        let text = || Any::StringValue("ä".repeat(MAX_VALUE_BYTES));
        let mut many: Vec<_> = (0..MAX_ATTRIBUTES).map(|n| attribute(format!("{n}"), text())).collect();
        many.truncate(3);
        many.push(attribute("k".repeat(MAX_KEY_BYTES + 1), Any::IntValue(1)));
        many.push(attribute("bytes".to_owned(), Any::BytesValue(vec![0; MAX_VALUE_BYTES + 1])));
        let event = Event { name: "e".repeat(2000), attributes: many.clone(), ..Default::default() };
        let link = Link { attributes: many.clone(), ..Default::default() };
        let given = Span {
            name: "ä".repeat(MAX_NAME_BYTES),
            attributes: many,
            events: vec![event; MAX_EVENTS + 5],
            links: vec![link; MAX_LINKS + 7],
            dropped_links_count: 1,
            ..Default::default()
        };
        let cut = Span::decode(span(&given.encode_to_vec().into()).unwrap()).unwrap();
        assert_eq!((cut.name.len(), cut.events[0].name.len()), (MAX_NAME_BYTES, MAX_NAME_BYTES));
        assert_eq!((cut.events.len(), cut.dropped_events_count), (MAX_EVENTS, 5));
        assert_eq!((cut.links.len(), cut.dropped_links_count), (MAX_LINKS, 8));
        for (attributes, dropped) in [
            (&cut.attributes, cut.dropped_attributes_count),
            (&cut.events[0].attributes, cut.events[0].dropped_attributes_count),
            (&cut.links[0].attributes, cut.links[0].dropped_attributes_count),
        ] {
            assert_eq!((attributes.len(), dropped), (3, 2));
            let value = attributes[0].value.as_ref().unwrap().value.as_ref();
            assert!(matches!(value, Some(Any::StringValue(text)) if text.len() == MAX_VALUE_BYTES));
        }
        let counted = Span {
            attributes: vec![attribute("k".to_owned(), Any::IntValue(1)); MAX_ATTRIBUTES + 9],
            ..Default::default()
        };
        let cut = Span::decode(span(&counted.encode_to_vec().into()).unwrap()).unwrap();
        assert_eq!((cut.attributes.len(), cut.dropped_attributes_count), (MAX_ATTRIBUTES, 9));
    }

    #[test]
    fn a_full_count_of_the_sender_stays() {
        let attributes = vec![attribute("k".to_owned(), Any::IntValue(1)); MAX_ATTRIBUTES + 1];
        let most = u32::MAX;
        let event =
            Event { attributes: attributes.clone(), dropped_attributes_count: most, ..Default::default() };
        let link =
            Link { attributes: attributes.clone(), dropped_attributes_count: most, ..Default::default() };
        let given = Span {
            attributes: attributes.clone(),
            dropped_attributes_count: most,
            events: vec![event; MAX_EVENTS + 1],
            dropped_events_count: most,
            links: vec![link; MAX_LINKS + 1],
            dropped_links_count: most,
            ..Default::default()
        };
        let cut = Span::decode(span(&given.encode_to_vec().into()).unwrap()).unwrap();
        assert_eq!((cut.events.len(), cut.links.len()), (MAX_EVENTS, MAX_LINKS));
        assert_eq!(
            [
                cut.dropped_attributes_count,
                cut.dropped_events_count,
                cut.dropped_links_count,
                cut.events[0].dropped_attributes_count,
                cut.links[0].dropped_attributes_count,
            ],
            [most; 5]
        );
        let mut of_all = Resource { attributes, dropped_attributes_count: most, ..Default::default() };
        resource(&mut of_all);
        assert_eq!((of_all.attributes.len(), of_all.dropped_attributes_count), (MAX_ATTRIBUTES, most));
    }
}
